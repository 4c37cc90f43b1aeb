"""A plugin cannot take the run with it, whatever it raises and wherever, and even if it ends the process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from environment import environment

from bench.cli import main
from bench.storage.records import RecordStore
from bench.system import process_state

HARMFUL = Path(__file__).parents[1] / "harmful"
NOISE = "noise on standard output"
SOFT = ("raise", "sys.exit", "own", "interrupt", "close", "memory")
LIMIT = "50"  # seconds, for a cell on a machine that is busy
HARD = {
    "os._exit": "exit status 0",
    "segfault": "SIGSEGV",
    "kill": "SIGKILL",
    "loop": f"not done after {LIMIT} s",
}
WHERE = {
    "method": (
        "views", "recipe_for", "check", "method", "draw", "embed", "terms", "monitors", "export",
        "before_step", "after_batch", "after_step",
    ),
    "backbone": ("check", "about", "backbone", "forward"),
    "dataset": ("dataset", "info", "splits", "fingerprint", "labels", "load"),
    "evaluator": ("evaluator", "features", "check", "evaluate"),
}  # fmt: skip
SMALL = (
    "--epochs", "1", "--batch-size", "16", "--image-size", "16", "--device", "cpu", "--precision", "float32",
)  # fmt: skip
HARMLESS = {"method": "random", "backbone": "harm-backbone", "dataset": "harm-dataset", "eval": "knn"}


@pytest.fixture(autouse=True)
def harmful(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install the distribution of harmful plugins."""
    monkeypatch.syspath_prepend(HARMFUL)
    yield
    sys.modules.pop("harmful", None)


def arguments(folder: Path, axes: dict[str, str], *more: str) -> list[str]:
    chosen = [word for name, value in {**HARMLESS, **axes}.items() for word in (f"--{name}", value)]
    return ["run", *chosen, *SMALL, "--results", str(folder), *more]


def harm_axis(role: str, harms: Sequence[str]) -> tuple[str, str]:
    """Return the setting of a plugin by which it does no harm in one cell, and one harm in each other."""
    return "--set", f"harm-{role}.harm={','.join(['none', *harms])}"


def in_process(*args: str) -> Result:
    result = CliRunner().invoke(main, list(args))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result


def bench(*args: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run bench in a process of its own, on whose real standard output the plugins print."""
    return subprocess.run(
        [sys.executable, "-m", "bench", *args],
        env=environment(HARMFUL, **variables), capture_output=True, text=True, check=False,
    )  # fmt: skip


def is_gone(group: int) -> bool:
    """Wait until no process of a group is left, but not for long."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def reasons_by_harm(folder: Path, role: str) -> dict[str, str | None]:
    """Return why each cell failed, by the harm that was done in it; none where it is ok."""
    found = {}
    for record in RecordStore(folder).records():
        assert (record["status"] == "ok") is (record["reason"] is None)
        found[record["settings"][f"harm-{role}.harm"]] = record["reason"]
    return found


@pytest.mark.parametrize("role", WHERE)
def test_what_a_plugin_raises_anywhere_fails_its_cell_with_its_reason_and_no_other(
    role: str, tmp_path: Path
) -> None:
    harms = [f"{where} {deed}" for where in WHERE[role] for deed in SOFT]
    axes = {{"evaluator": "eval"}.get(role, role): f"harm-{role}"}
    result = in_process(*arguments(tmp_path, axes, *harm_axis(role, harms), "--executor", "in-process"))
    reasons = reasons_by_harm(tmp_path, role)

    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    assert NOISE not in result.stdout
    assert set(reasons) == {"none", *harms}
    assert reasons.pop("none") is None
    assert [harm for harm, reason in reasons.items() if not reason or "\n" in reason] == []
    words = {
        "raise": "ArithmeticError: it broke",
        "sys.exit": "SystemExit: 0",
        "own": "Own: it left",
        "memory": "9 GB",
    }
    for harm, reason in reasons.items():
        assert words.get(harm.split()[1], "") in str(reason)


@pytest.mark.long
@pytest.mark.parametrize("role", WHERE)
def test_what_a_plugin_raises_or_changes_in_one_of_two_workers_fails_its_cell_at_most(
    role: str, tmp_path: Path
) -> None:
    harms = [f"{where} {deed}" for where in WHERE[role] for deed in (*SOFT, "change")]
    axes = {{"evaluator": "eval"}.get(role, role): f"harm-{role}"}
    done = bench(*arguments(tmp_path, axes, *harm_axis(role, harms), "--jobs", "2"))
    reasons = reasons_by_harm(tmp_path, role)

    assert done.returncode == 1, done.stderr
    assert NOISE not in done.stdout
    assert set(reasons) == {"none", *harms}
    assert reasons["none"] is None
    assert [harm for harm in harms if not reasons[harm] and not harm.endswith(" change")] == []


@pytest.mark.parametrize(
    "role",
    [
        "method",
        "evaluator",
        *(pytest.param(role, marks=pytest.mark.long) for role in ("backbone", "dataset")),
    ],
)
def test_what_a_plugin_changes_of_its_process_changes_no_other_cell(
    role: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each harm of the role in a cell of its own, each followed by one in which none is done."""
    monkeypatch.chdir(tmp_path)  # results are below it, by a relative path
    process_state._warn.cache_clear()  # noqa: SLF001 - each is said once a process
    axes = {{"evaluator": "eval"}.get(role, role): f"harm-{role}"}
    plain = in_process(*arguments(Path("plain"), axes, "--executor", "in-process"))
    before = state_of_process()
    harms = [f"{where} change" for where in WHERE[role]]
    result = in_process(*arguments(Path("here"), axes, *harm_axis(role, harms), "--executor", "in-process"))
    reasons = reasons_by_harm(tmp_path / "here", role)
    (alone,) = RecordStore(tmp_path / "plain").records()
    (other,) = (
        r for r in RecordStore(tmp_path / "here").records() if r["settings"][f"harm-{role}.harm"] == "none"
    )

    assert plain.exit_code == 0, plain.output
    assert state_of_process() == before
    assert set(reasons) == {"none", *harms}
    assert other["metrics"] == alone["metrics"]
    own = ("(A plugin had changed the working directory, ", "Input type (float) and bias type (double)")
    for harm, reason in reasons.items():  # it may well break what it is itself, there or in the next stage
        assert reason is None or any(words in reason for words in own), (harm, result.output)
    assert "changed the working directory, the environment variable PATH, " in caplog.text


def state_of_process() -> dict[str, object]:
    return {
        "folder": Path.cwd(),
        "variables": dict(os.environ),
        "filters": list(warnings.filters),
        "handlers": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
        "torch": (
            torch.get_default_dtype(), torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(),
            torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic,
            torch.backends.cuda.matmul.allow_tf32,
        ),
    }  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize(
    ("role", "wheres", "stage"),
    [
        ("method", ("method", "embed", "terms", "after_step"), "pretrain"),
        ("dataset", ("load",), "data"),
        ("evaluator", ("evaluate",), "evaluate"),
    ],
)
def test_whatever_ends_a_process_or_keeps_it_fails_its_cell_and_no_other(
    role: str, wheres: tuple[str, ...], stage: str, jobs: str, tmp_path: Path
) -> None:
    harms = [f"{where} {deed}" for where in wheres for deed in HARD]
    axes = {{"evaluator": "eval"}.get(role, role): f"harm-{role}"}
    done = bench(*arguments(tmp_path, axes, *harm_axis(role, harms), "--jobs", jobs, "--timeout", LIMIT))
    records = {r["settings"][f"harm-{role}.harm"]: r for r in RecordStore(tmp_path).records()}

    assert done.returncode == 1, done.stderr
    assert NOISE not in done.stdout
    assert set(records) == {"none", *harms}
    assert records.pop("none")["status"] == "ok", done.stderr
    for harm, record in records.items():
        how = HARD[harm.split()[1]]
        assert record["error"]["stage"] == stage, (harm, record)
        assert how in record["reason"], (harm, record)
        assert record["error"]["type"] == ("TimedOut" if "loop" in harm else "WorkerDied")


@pytest.mark.long
@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize(
    ("role", "where", "called"),
    [("method", "views", "views()"), ("evaluator", "evaluator", "HarmEvaluator()")],
)
def test_whatever_ends_the_process_or_keeps_it_in_a_plan_fails_its_cells_and_no_other(
    role: str, where: str, called: str, jobs: str, tmp_path: Path
) -> None:
    harms = [f"{where} {deed}" for deed in HARD]
    axes = {{"evaluator": "eval"}.get(role, role): f"harm-{role}"}
    done = bench(*arguments(tmp_path, axes, *harm_axis(role, harms), "--jobs", jobs, "--timeout", LIMIT))
    reasons = reasons_by_harm(tmp_path, role)

    assert done.returncode == 1, done.stderr
    assert reasons.pop("none") is None
    for deed, how in HARD.items():
        assert str(reasons[f"{where} {deed}"]).startswith(f"harm-{role}: {called} "), done.stderr
        assert how in str(reasons[f"{where} {deed}"])


@pytest.mark.parametrize(
    ("jobs", "in_method", "in_evaluator"),
    [
        pytest.param((), "terms segfault", "evaluate os._exit", id="alone"),
        pytest.param(
            ("--jobs", "2"), "method os._exit", "evaluate segfault", id="two jobs", marks=pytest.mark.long
        ),
    ],
)
def test_what_ends_a_process_fails_the_cell_that_it_was_at_and_no_other(
    jobs: tuple[str, ...], in_method: str, in_evaluator: str, tmp_path: Path
) -> None:
    axes = {"method": "random,harm-method", "eval": "harm-evaluator,knn"}
    harms = ("--set", f"method.harm={in_method}", *harm_axis("evaluator", [in_evaluator]))
    done = bench(*arguments(tmp_path, axes, *harms, *jobs))
    reasons = {
        (cell["method"], cell["evaluator"], record["settings"].get("harm-evaluator.harm")): record["reason"]
        for record in RecordStore(tmp_path).records()
        for cell in [record["cell"]]
    }
    signs = {"os._exit": "exit status 0", "segfault": "SIGSEGV"}
    of_method, of_evaluator = (signs[harm.split()[1]] for harm in (in_method, in_evaluator))

    assert done.returncode == 1, done.stderr
    assert NOISE not in done.stdout
    assert len(reasons) == 6
    for (method, evaluator, harm), reason in reasons.items():
        if method == "harm-method":
            assert reason.startswith(f"its process ended in the stage pretrain ({of_method}). A plugin or ")
        elif harm == in_evaluator:
            assert reason.startswith(
                f"its process ended in the stage evaluate ({of_evaluator}). A plugin or "
            )
        else:
            assert reason is None, evaluator
    assert ("harmful.py" in done.stderr) is ("segfault" in in_method + in_evaluator)  # where it crashed


@pytest.mark.parametrize(
    ("one", "other"),
    [(("method", "views os._exit"), ("dataset", "fingerprint segfault")),
     pytest.param(
         ("backbone", "about segfault"), ("evaluator", "features os._exit"), marks=pytest.mark.long
     )],
)  # fmt: skip
def test_what_ends_the_process_while_the_grid_is_planned_fails_its_cells_and_no_other(
    one: tuple[str, str], other: tuple[str, str], tmp_path: Path
) -> None:
    roles = {"method": "harm-method", "eval": "harm-evaluator"}
    harms = [word for role, harm in (one, other) for word in harm_axis(role, [harm])]
    done = bench(*arguments(tmp_path, roles, *harms))
    records = list(RecordStore(tmp_path).records())

    assert done.returncode == 1, done.stderr
    assert NOISE not in done.stdout
    assert len(records) == 4
    for record in records:
        harm = {role: record["settings"][f"harm-{role}.harm"] for role, _ in (one, other)}
        ended = [f"harm-{role}: {does.split()[0]}() ended its process" for role, does in (one, other)
                 if harm[role] == does]  # fmt: skip
        assert (record["status"] == "failed") is bool(ended)
        assert not ended or record["reason"].startswith(tuple(ended))


CATALOGUE = [f"{where} {deed}" for where in ("import", "bench_methods", "names") for deed in HARD]
QUICK = ("import os._exit", "bench_methods segfault", "names os._exit")


@pytest.mark.parametrize(
    "harm", [pytest.param(harm, marks=[] if harm in QUICK else pytest.mark.long) for harm in CATALOGUE]
)
def test_what_ends_the_process_in_a_catalogue_is_its_failure_and_the_others_are_listed(harm: str) -> None:
    limit = {"BENCH_LOAD_TIMEOUT": "4"} if "loop" in harm else {}
    listed = bench("list", "backbones", "res*", HARM=harm, **limit)

    assert listed.returncode == 0, listed.stderr
    assert "resnet18" in listed.stdout
    assert "Failed to load: harmful:harmful. See `bench plugins doctor`." in listed.stderr
    if "loop" in harm:
        assert "loading harmful:harmful: " in listed.stderr
        assert "harmful:harmful ..., or BENCH_DISABLE=harmful:harmful" in listed.stderr


@pytest.mark.long
@pytest.mark.parametrize("harm", ["import os._exit", "bench_methods loop", "import change"])
def test_with_a_plugin_that_cannot_be_loaded_a_run_makes_its_cells_and_names_it(
    harm: str, tmp_path: Path
) -> None:
    args = ("run", "--method", "random", "--backbone", "test_resnet", "--eval", "knn", *SMALL)
    limits = {"HARM": harm, **({"BENCH_LOAD_TIMEOUT": "4"} if "loop" in harm else {})}
    done = bench(*args, "--results", str(tmp_path), "--set", "dataset.max_train=48", **limits)
    doctor = bench("plugins", "doctor", **limits)

    assert done.returncode == 0, done.stderr
    assert [record["status"] for record in RecordStore(tmp_path).records()] == ["ok"]
    if harm == "import change":
        assert "harmful:harmful: the import changed the working directory, " in done.stderr
        return
    assert "Failed to load: harmful:harmful. See `bench plugins doctor`." in done.stderr
    assert doctor.returncode == 1
    assert "harmful:harmful 1.0 (harmful) FAILED at " in doctor.stdout
    assert "bench -p no:harmful:harmful" in doctor.stdout


@pytest.mark.long
def test_in_process_what_ends_it_fails_the_cell_that_it_was_at_and_no_other(tmp_path: Path) -> None:
    axes = {"method": "random,harm-method", "eval": "harm-evaluator,knn"}
    harms = harm_axis("evaluator", ["evaluate os._exit"])
    done = bench(*arguments(tmp_path, axes, *harms, "--executor", "in-process", "--profile"))
    records = list(RecordStore(tmp_path).records())
    reasons = [record["reason"] for record in records if record["status"] != "ok"]

    assert done.returncode == 1, done.stderr
    assert len(records) == 6
    assert len(reasons) == 2
    assert all(reason.startswith("its process ended (exit status 0). A plugin or ") for reason in reasons)


@pytest.mark.long
def test_an_observer_that_ends_the_process_ends_no_cell(tmp_path: Path) -> None:
    args = arguments(tmp_path, {"method": "harm-method", "eval": "knn,harm-evaluator"})
    done = bench(*args, HARM="bench_step_interval os._exit")

    assert done.returncode == 0, done.stderr
    assert [record["status"] for record in RecordStore(tmp_path).records()] == ["ok", "ok"]
    assert "harmful:harmful: a process ended while it observed (exit status 0)." in done.stderr


@pytest.mark.parametrize("deed", SOFT)
def test_what_an_observer_raises_ends_no_cell(
    deed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARM", f"bench_cell_end {deed}")
    result = in_process(*arguments(tmp_path, {}, "--executor", "in-process", "--seed", "0,1"))

    assert result.exit_code == 0, result.output
    assert [record["status"] for record in RecordStore(tmp_path).records()] == ["ok", "ok"]
    assert NOISE not in result.stdout


def test_a_plugin_that_breaks_while_planning_is_named_where_nothing_else_can_be_run(tmp_path: Path) -> None:
    args = arguments(tmp_path, {"method": "harm-method"}, "--set", "method.harm=views sys.exit")
    result = in_process(*args)

    assert (result.exit_code, result.stdout) == (2, "")
    assert "Error: harm-method: views() raised SystemExit: 0. Report it to its authors" in result.stderr
    assert not (tmp_path / "records").exists()


def test_a_cell_whose_plan_failed_is_one_record_once_the_plugin_is_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = arguments(tmp_path, {"method": "random,harm-method"}, "--executor", "in-process")
    monkeypatch.setenv("HARM", "views raise")
    broken, again = in_process(*args), in_process(*args)
    failed = [record["status"] for record in RecordStore(tmp_path).records()]
    monkeypatch.delenv("HARM")
    mended = in_process(*args)

    assert (broken.exit_code, again.exit_code, mended.exit_code) == (1, 1, 0)
    assert sorted(failed) == ["failed", "ok"]
    assert [record["status"] for record in RecordStore(tmp_path).records()] == ["ok", "ok"]


@pytest.mark.parametrize("deed", SOFT)
@pytest.mark.parametrize("where", ["import", "bench_methods", "names"])
def test_what_a_catalogue_raises_is_its_failure_and_the_others_are_listed(
    where: str, deed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARM", f"{where} {deed}")
    listed = in_process("list")
    doctor = in_process("plugins", "doctor")

    assert (listed.exit_code, doctor.exit_code) == (0, 1)
    assert "simclr" in listed.stdout
    assert NOISE not in listed.stdout + doctor.stdout.replace("print(NOISE)", "")
    assert "Failed to load: harmful:harmful" in listed.stderr


@pytest.mark.parametrize("deed", SOFT)
def test_what_an_executor_or_a_format_raises_is_one_line(
    deed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARM", f"executor {deed}")
    run = in_process(*arguments(tmp_path, {}, "--executor", "harm-executor", "--seed", "0,1"))
    kept = [record["status"] for record in RecordStore(tmp_path).records()]
    monkeypatch.setenv("HARM", f"render {deed}")
    table = in_process("table", "--results", str(tmp_path), "--format", "harm-format")

    assert (run.exit_code, table.exit_code) == (1, 2)
    assert "HarmExecutor: run() raised " in run.stderr
    assert "There is no record of 1 of 2 cells. Run again with --executor in-process." in run.stderr
    assert kept == ["ok"]
    assert table.stderr.splitlines()[-1].startswith("Error: harm-format: render() raised ")


@pytest.mark.parametrize("where", ["splits", "stream"])
def test_checks_of_a_harmful_plugin_end_with_what_it_did(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARM", f"{where} sys.exit")
    result = in_process("plugins", "check", "harm-dataset")

    assert result.exit_code == 1
    assert "SystemExit: 0" in result.stdout
    assert NOISE not in result.stdout


def test_what_plugins_and_their_libraries_print_is_no_part_of_the_result() -> None:
    done = bench("list", "methods")

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("methods\n")
    assert NOISE not in done.stdout
    assert done.stderr.count(NOISE) >= 4  # printed, and written past Python, at import and by the hook


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [
        pytest.param("SIGINT", 130, "Interrupted.", marks=pytest.mark.long),
        ("SIGTERM", 143, "Ended by SIGTERM. The same command goes on where it was."),
    ],
)
def test_a_signal_ends_the_run_and_its_processes(tmp_path: Path, name: str, status: int, words: str) -> None:
    hanging = tmp_path / "hanging"
    args = arguments(tmp_path / "results", {"eval": "harm-evaluator"})
    heard = signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background may ignore it
    run = subprocess.Popen(
        [sys.executable, "-m", "bench", *args],
        env=environment(HARMFUL, HARM="evaluate hang", HANGING=str(hanging)),
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    signal.signal(signal.SIGINT, heard)
    end = time.monotonic() + 120
    while not hanging.exists() and time.monotonic() < end:
        time.sleep(0.1)
    os.killpg(run.pid, getattr(signal, name))
    _, said = run.communicate(timeout=60)

    assert hanging.exists(), said
    assert run.returncode == status, said
    assert said.rstrip().endswith(words)
    assert "leaked" not in said
    assert list(RecordStore(tmp_path / "results").records()) == []
    assert is_gone(run.pid)


def test_records_can_hold_whatever_an_evaluator_says(tmp_path: Path) -> None:
    result = in_process(
        *arguments(tmp_path, {"eval": "harm-evaluator,knn"}, "--set", "harm-evaluator.harm=odd protocol"),
        "--executor", "in-process",
    )  # fmt: skip
    statuses: dict[str, Any] = {r["cell"]["evaluator"]: r["status"] for r in RecordStore(tmp_path).records()}

    assert result.exit_code == 1, result.output
    assert statuses == {"harm-evaluator": "failed", "knn": "ok"}

"""`bench list`, `bench show`, `bench plugins`, and how every command fails."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from bench.augmentation.view import View
from bench.cli.main import main
from bench.config import format_value
from bench.contracts.recipe import TrainConfig
from bench.errors import CellError
from bench.inspection import conformance
from bench.testing import Outcome

KINDS = ("method", "backbone", "dataset", "evaluator")


def bench(*args: str, **env: str) -> Result:
    return CliRunner().invoke(main, args, env=env)


def test_list_shows_every_kind_and_families_on_one_line() -> None:
    result = bench("list")

    assert result.exit_code == 0
    assert [line for line in result.stdout.splitlines() if line and line[0] != " "] == [
        "methods", "backbones", "datasets", "evaluators", "executors", "formats", "loggers",
    ]  # fmt: skip
    assert "simclr" in result.stdout
    assert sum("timm" in line for line in result.stdout.splitlines()) == 1
    assert "resnet50" not in result.stdout


def test_list_takes_a_kind_and_a_pattern() -> None:
    assert "digits" not in bench("list", "method").stdout
    assert "resnet50" in bench("list", "backbones", "resnet5?").stdout.split()
    assert "resnet50d" not in bench("list", "backbones", "resnet5?").stdout.split()
    assert bench("list", "cifar").stdout.splitlines()[0] == "datasets"


def test_list_lists_all_of_timm_in_its_order() -> None:
    import timm

    rows = bench("list", "backbones", "*").stdout.splitlines()[1:]

    assert [row.split()[0] for row in rows if row.endswith("of timm")] == timm.list_models()


def test_a_pattern_without_a_match_is_a_usage_error() -> None:
    result = bench("list", "methods", "nonsense")

    assert result.exit_code == 2
    assert result.stderr.startswith("Error: nothing that is listed matches 'nonsense'.")
    assert result.stdout == ""


@pytest.mark.parametrize("kind", ["method", "methods", "METHOD"])
def test_show_derives_settings_and_recipe_from_the_class(kind: str) -> None:
    text = bench("show", kind, "simclr").stdout

    assert "temperature    0.2" in text
    assert "more than 0" in text
    assert "solo-learn, CIFAR" in text
    assert "arXiv:2002.05709" in text
    assert "lars" in text
    assert "ssl-bench" in text


def test_show_knows_members_of_a_family_and_the_family() -> None:
    assert bench("show", "backbone", "resnet18").stdout.startswith("resnet18: backbone\n")
    assert bench("show", "backbone", "timm").stdout.startswith("timm: family of backbones\n")


def test_show_knows_a_format_which_has_no_settings() -> None:
    text = bench("show", "format", "github").stdout

    assert text.startswith("github: format\n")
    assert "settings" not in text


def test_show_has_every_setting_of_training_with_its_default_and_source() -> None:
    text = bench("show", "train").stdout
    rows = {line.split()[0]: line for line in text.splitlines() if line.startswith("  ") and line[2] != " "}

    assert rows.keys() == {"name", *(field.name for field in dataclasses.fields(TrainConfig))}
    assert re.search(
        r"epochs +100 +at least 1, at most +passes over the training images +our choice", rows["epochs"]
    )
    assert re.search(r"lr +the method's +more than 0 +base learning rate.* the method's recipe", rows["lr"])
    assert "--set train.NAME=VALUE" in text


def test_show_has_every_setting_of_views() -> None:
    text = bench("show", "views").stdout
    rows = {line.split()[0]: line for line in text.splitlines() if line.startswith("  ") and line[2] != " "}

    assert rows.keys() == {"name", "ops", *(field.name for field in dataclasses.fields(View))}
    assert "the method's, else 0.08" in rows["crop_min"]


def test_show_has_the_folder_of_a_dataset() -> None:
    assert re.search(
        r"\n  root +required +the folder of your files", bench("show", "dataset", "image_folder").stdout
    )
    assert re.search(r"\n  root +none +the folder that holds", bench("show", "dataset", "cifar10").stdout)


def test_show_takes_the_name_of_a_plugin_for_itself() -> None:
    assert bench("show", "vicreg").stdout == bench("show", "method", "vicreg").stdout
    assert bench("show", "resnet18").stdout.startswith("resnet18: backbone\n")


def test_show_says_what_is_missing_of_its_arguments() -> None:
    assert (
        bench("show", "method").stderr
        == "Error: show method: of which? Name one; `bench list methods` has them.\n"
    )
    assert "no method is named 'vicregg'. Did you mean 'vicreg'" in bench("show", "vicregg").stderr


def test_show_suggests_what_was_meant() -> None:
    assert "Did you mean 'simclr'?" in bench("show", "method", "simclrr").stderr
    assert "Did you mean 'methods'?" in bench("show", "methodes", "vicreg").stderr


@pytest.mark.parametrize(
    ("value", "written"),
    [(None, "none"), (True, "true"), (1, "1"), (1.0, "1"), (0, "0"), (1e-6, "1e-06"), ((1, 2.5), "[1, 2.5]")],
)
def test_a_value_is_shown_as_it_is_set(value: object, written: str) -> None:
    assert format_value(value) == written


def test_plugins_lists_every_entry_point_and_plugins_list_is_the_same() -> None:
    result = bench("plugins")

    assert result.stdout == bench("plugins", "list").stdout
    assert "ssl-bench:methods" in result.stdout
    assert "FAILED" not in result.stdout


def test_a_disabled_plugin_is_listed_as_disabled_and_offers_nothing() -> None:
    assert "simclr" not in bench("-p", "no:methods", "list").stdout
    assert "simclr" not in bench("list", BENCH_DISABLE="datasets, ssl-bench:methods").stdout
    assert "disabled" in bench("-p", "no:ssl-bench:methods", "plugins").stdout


def test_disabling_what_is_not_there_is_an_error_on_the_line_but_not_in_the_environment() -> None:
    assert bench("list", BENCH_DISABLE="elsewhere").exit_code == 0
    result = bench("-p", "no:elsewhere", "list")

    assert result.exit_code == 2
    assert "no plugin is named 'elsewhere'" in result.stderr


def test_p_takes_only_no() -> None:
    assert bench("-p", "simclr", "list").exit_code == 2


def test_doctor_finds_nothing_wrong_with_what_is_built_in() -> None:
    result = bench("plugins", "doctor")

    assert result.exit_code == 0
    assert "nothing is wrong" in result.stdout


def test_check_prints_each_check_and_counts_them() -> None:
    result = bench("plugins", "check", "random")
    *lines, counts = result.stdout.splitlines()

    assert result.exit_code == 0
    assert {line.split()[0] for line in lines} == {"ok", "skipped"}
    assert sum(line.startswith("skipped") and line.endswith(": nothing is trained") for line in lines) > 10
    assert counts.startswith(f"{sum(line.startswith('ok') for line in lines)} ok, 0 failed, ")


def test_check_is_told_what_to_check_and_prints_json_for_ci() -> None:
    result = bench("plugins", "check", "pixels", "--kind", "backbone", "--json")
    report = json.loads(result.stdout)

    assert result.exit_code == 0
    assert report["passed"]
    assert {check["kind"] for check in report["checks"]} == {"backbone"}


def test_a_check_that_fails_and_one_that_checks_nothing_say_so_by_the_exit_status(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for outcome, status in ((Outcome("a", "wrong"), 1), (Outcome("a", skipped="none"), 1), (Outcome("a"), 0)):
        monkeypatch.setattr(conformance, "check", lambda *_, outcome=outcome, **__: [outcome])

        assert bench("plugins", "check", "random").exit_code == status


def test_check_of_nothing_is_a_usage_error() -> None:
    assert bench("plugins", "check", "nonsense").exit_code == 2


def test_an_unknown_command_is_answered_with_the_nearest() -> None:
    result = bench("lst")

    assert result.exit_code == 2
    assert result.stderr.startswith("Error: no command is named 'lst'. Did you mean 'list'?")


def test_an_unknown_option_is_one_line() -> None:
    result = bench("list", "--nonsense")

    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr


def test_h_is_help_and_bench_alone_is_too() -> None:
    assert bench("-h").stdout == bench("--help").stdout == bench().stdout
    assert "bench show method simclr" in bench("show", "-h").stdout


def test_traceback_shows_where_an_error_was_raised() -> None:
    result = bench("--traceback", "show", "method", "vicregg")

    assert "Traceback" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("Error: no method is named")


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that end in each way a command can."""

    @click.command()
    @click.argument("how")
    def fail(how: str) -> None:
        raise {"cell": CellError("it failed"), "interrupt": KeyboardInterrupt()}[how]

    monkeypatch.setitem(main.commands, "fail", fail)


@pytest.mark.usefixtures("failing")
def test_a_failed_cell_exits_1_and_an_interrupt_130() -> None:
    cell, interrupt = bench("fail", "cell"), bench("fail", "interrupt")

    assert (cell.exit_code, cell.stderr) == (1, "Error: it failed\n")
    assert (interrupt.exit_code, interrupt.stderr.strip()) == (130, "Interrupted.")


def test_a_closed_pipe_is_quiet() -> None:
    reader, writer = os.pipe()
    os.close(reader)

    done = subprocess.run(
        [sys.executable, "-m", "bench", "list"], stdout=writer, stderr=subprocess.PIPE, check=False
    )
    os.close(writer)

    assert done.stderr == b""


@pytest.mark.parametrize(
    "args", [["--help"], ["--version"], ["list"], ["plugins"], ["list", "backbones", "*"]]
)
def test_listing_imports_neither_torch_nor_pandas(args: list[str]) -> None:
    code = (
        "import sys\nfrom bench.cli.main import main\n"
        f"try: main({args!r})\nexcept SystemExit as stop: assert not stop.code\n"
        "assert not {'torch', 'pandas', 'timm', 'sklearn', 'numpy'} & set(sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


def imported_by(args: list[str], status: int) -> set[str]:
    """Return which of the heavy modules a command imports that ends with a status."""
    code = (
        "import sys\nfrom bench.cli.main import main\n"
        f"try: main({args!r})\nexcept SystemExit as stop: assert stop.code == {status}, stop.code\n"
        "print(*{'torch', 'timm', 'pandas', 'sklearn'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize(
    "args",
    [
        "run --method simclrr", "run --dataset digit", "run --eval linea", "run --backbone resnet1",
        "run --executor nope", "run --device gpu", "run --epochs 0", "run --precision half",
        "run --set method.temp=1", "run --set method.temperature=-1", "run --set simclr.temperature=a",
        "run --set train.lr=-1", "run --set views.blur=2", "run --set views.ops=[spin]",
        "run --set linear.l2_steps=0", "run --set backbone.stem=big", "run --set dataset.max_train=-1",
        "show method nope", "show views simclr --set views.blurr=1", "preview --method nope",
        "plugins check nope", "table --results nowhere", "table --format nope",
    ],
)  # fmt: skip
def test_what_is_wrong_by_what_plugins_declare_is_refused_without_torch(args: str) -> None:
    assert imported_by(args.split(), 2) == set()


@pytest.mark.parametrize(
    "args",
    [
        *(f"show method {name}" for name in ("simclr", "byol", "mae", "swav", "random", "supervised")),
        *(f"show evaluator {name}" for name in ("linear", "knn", "label-fraction")),
        "show backbone resnet18", "show backbone timm", "show dataset cifar10", "show dataset image_folder",
        "show views simclr", "show views swav --dataset cifar10",
    ],
)  # fmt: skip
def test_showing_imports_no_torch(args: str) -> None:
    assert imported_by(args.split(), 0) == set()


@pytest.mark.long
def test_timm_is_imported_only_where_one_of_its_backbones_is_used() -> None:
    dry = ["run", "--dry-run", "--epochs", "1"]

    assert "timm" not in imported_by([*dry, "--method", "pixels", "--backbone", "resnet18"], 0)
    assert "timm" in imported_by([*dry, "--method", "random", "--backbone", "test_resnet"], 0)


def test_settings_that_are_right_together_are_not_refused_one_by_one(tmp_path: Path) -> None:
    picture = tmp_path / "preview.png"
    values = ("views.blur_min=3", "views.blur_max=4")  # the first is more than the usual second

    assert bench("preview", *(f"--set={value}" for value in values), f"--output={picture}").exit_code == 0
    assert picture.exists()

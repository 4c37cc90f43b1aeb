"""Loggers that a run asks for are told of it in order, and neither slow nor break it."""

from __future__ import annotations

import importlib.util
import io
import logging
import pickle
import sys
import threading
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from conftest import Lab
from logged_runs import RUN, log_failures_and_one_success, make_record, resume
from PIL import Image

from bench.cli import main
from bench.contracts.logger import list_scores, name_cell
from bench.execution.called_logger import open_loggers
from bench.execution.experiment import plan_experiment
from bench.execution.pipeline import LocalParts, PipelineSpec
from bench.execution.submitted import to_options, to_plain
from bench.planning.options import merge_options
from bench.registry.registry import Registry

NOTES = """
    from dataclasses import dataclass
    from bench.api import Logger, Offer, UsageError, setting

    class Notes(Logger):
        patience = 0.3

        @dataclass(frozen=True, kw_only=True)
        class Config:
            note: str = setting("", "what is noted")

        def __init__(self, config, results):
            super().__init__(config, results)
            seen.append(("made", config.note, results))
            self.fail()

        def fail(self):
            pass

        def start(self, run):
            seen.append(("start", run.key, run.resumed_epoch))

        def show_views(self, run, picture):
            seen.append(("views", run.key, picture))

        def log_step(self, run, step, metrics):
            seen.append(("step", run.key, step))

        def log_epoch(self, run, epoch, metrics):
            seen.append(("epoch", run.key, epoch))

        def end(self, run, status):
            seen.append(("end", run.key, status))

        def log_record(self, run, record):
            seen.append(("record", run.key, record["cell"]["evaluator"]))

        def close(self):
            seen.append(("close",))

    @hookimpl
    def bench_loggers():
        yield Offer("notes", "notes:Notes", "Note what happens.")
"""
GRID = ("--method", "simclr", "--eval", "knn", "--epochs", "2", "--batch-size", "24", "--image-size", "16",
        "--set", "dataset.max_train=48", "--executor", "in-process")  # fmt: skip


@pytest.fixture
def notes(observing: Callable[[str, str], Any]) -> Any:
    """Install a logger that notes all it is told."""
    return observing("notes", NOTES)


def run(folder: Path, *args: str) -> Result:
    return CliRunner().invoke(main, ["run", *GRID, "--results", str(folder), *args])


def told(folder: Path, lab: Lab, **settings: Any) -> list[Any]:
    """Run one training of two epochs with the logger, and return its cells."""
    registry = Registry.load()
    cells = Lab(folder, registry).plan(method="simclr", evaluator=("knn", "linear"))
    loggers = open_loggers(registry, {"notes": settings}, folder)
    parts = LocalParts(registry, lab.datasets, loggers=loggers)
    records = list(PipelineSpec(results=folder, local=parts).build().run(cells))
    assert [record["status"] for record in records] == ["ok", "ok"]
    return cells


def test_a_logger_is_told_of_the_run_its_curves_views_and_scores(
    notes: Any, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notes.Notes, "step_interval", 2)
    cells = told(tmp_path / "results", lab, note="first")
    key = cells[0].keys.backbone
    (picture,) = (event[2] for event in notes.seen if event[0] == "views")

    assert [event for event in notes.seen if event[0] != "views"] == [
        ("made", "first", tmp_path / "results"), ("start", key, 0), ("step", key, 2), ("epoch", key, 1),
        ("step", key, 4), ("step", key, 6), ("epoch", key, 2), ("end", key, "ok"),
        ("record", key, "knn"), ("record", key, "linear"), ("close",),
    ]  # fmt: skip
    assert Image.open(io.BytesIO(picture)).width > 16 * 5  # an image, and two draws of two views


def test_it_is_asked_for_on_the_command_line_with_its_settings(notes: Any, tmp_path: Path) -> None:
    done = run(tmp_path, "--log", "notes", "--set", "notes.note=hello")

    assert done.exit_code == 0, done.output
    assert ("made", "hello", tmp_path) in notes.seen
    assert [event[0] for event in notes.seen].count("epoch") == 2


def test_without_being_asked_for_it_is_not_made(notes: Any, tmp_path: Path) -> None:
    assert run(tmp_path, "--epochs", "1").exit_code == 0
    assert notes.seen == []


def test_neither_a_logger_nor_its_settings_are_in_a_key(notes: Any, tmp_path: Path) -> None:
    registry = Registry.load()
    options = {"method": ("random",), "set": ("dataset.max_train=48",), "results": str(tmp_path)}
    with_it = {**options, "log": ("notes",), "set": ("dataset.max_train=48", "notes.note=hello")}
    one, other = (plan_experiment(merge_options(None, o), registry) for o in (options, with_it))

    assert [cell.keys for cell in one.cells] == [cell.keys for cell in other.cells]
    assert other.spec.loggers == {"notes": {"note": "hello"}}
    assert pickle.loads(pickle.dumps(other.spec)).loggers == other.spec.loggers  # noqa: S301 - ours


def test_a_job_on_another_machine_has_the_loggers_of_the_run(notes: Any, tmp_path: Path) -> None:
    options = {
        "method": ("random",),
        "log": ("notes",),
        "set": ("notes.note=hello",),
        "results": str(tmp_path),
    }
    merged = merge_options(None, options)
    spec = plan_experiment(merged, Registry.load()).spec
    again = to_options(to_plain(merged, spec, "float32"), tmp_path)

    assert again.logger_settings == {"notes": {"note": "hello"}}
    assert again.request("float32").settings == {}


def test_one_that_cannot_be_made_is_said_once(
    notes: Any, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(self: Any) -> None:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(notes.Notes, "fail", fail)
    told(tmp_path / "results", lab)

    assert [event[0] for event in notes.seen] == ["made"]
    (line,) = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert line == (
        "notes: bench_run_start raised LoggerFailed: ConnectionError: no route to host. "
        "Nothing is logged by it. The run goes on."
    )


@pytest.mark.parametrize("error", [OSError("disk full"), SystemExit(3)])
def test_one_that_fails_again_and_again_is_said_once_and_told_on(
    notes: Any,
    lab: Lab,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: BaseException,
) -> None:
    def fail(*args: Any) -> None:
        raise error

    monkeypatch.setattr(notes.Notes, "log_epoch", fail)
    monkeypatch.setattr(notes.Notes, "show_views", fail)
    told(tmp_path / "results", lab)

    assert len([r for r in caplog.records if r.levelno >= logging.WARNING]) == 1
    assert "What it missed is not logged" in caplog.text
    assert [event[0] for event in notes.seen] == ["made", "start", "end", "record", "record", "close"]


def test_one_that_hangs_is_given_up(
    notes: Any, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(notes.Notes, "start", lambda *_: go_on.wait())
    told(tmp_path / "results", lab)
    go_on.set()

    assert "notes: its observers were not done 0.3 s after the run" in caplog.text


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--log", "nots"), "no logger is named 'nots'. Did you mean 'notes'?"),
        (("--log", "notes", "--set", "notes.nite=a"), "Did you mean 'note'?"),
        (("--log", "notes", "--set", "notes.note=a,b"), "--set notes.note: it has one value, not 2."),
        (("--set", "notes.note=a"), "nothing chosen is named 'notes'"),
        (("--log", ""), "--log: "),
    ],
)
def test_what_is_asked_of_a_logger_in_vain_is_one_line(
    notes: Any, tmp_path: Path, args: tuple[str, ...], said: str
) -> None:
    done = run(tmp_path / "results", *args)

    assert done.exit_code == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("name", "package"), [("tensorboard", "tensorboard"), ("wandb", "wandb"), ("mlflow", "mlflow")]
)
def test_a_package_that_is_missing_is_one_line_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, package: str
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n, *a: None if n == package else find(n, *a))
    done = run(tmp_path / "results", "--log", name)

    assert done.exit_code == 2
    assert done.stderr.strip() == (
        f"Error: --log {name}: {package} is not installed. Use pip install 'ssl-bench[{name}]'."
    )


def test_built_in_loggers_are_listed_and_shown() -> None:
    listed = CliRunner().invoke(main, ["list", "loggers"]).stdout
    shown = CliRunner().invoke(main, ["show", "logger", "wandb"]).stdout

    assert all(name in listed for name in ("tensorboard", "wandb", "mlflow"))
    assert "project" in shown


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "knn/top1"),
        ({"label_frac": 0.1}, "knn@10%/top1"),
        ({"shots": 5, "label_frac": None}, "knn@5-shot/top1"),
        ({"eval_dataset": "mnist"}, "mnist/knn/top1"),
        ({"label_frac": None}, "knn/top1"),  # of an evaluator that takes no fraction
        ({"label_frac": None, "eval_dataset": "mnist"}, "mnist/knn/top1"),
    ],
)
def test_scores_of_one_run_have_names_of_their_own(changes: dict[str, Any], name: str) -> None:
    record = make_record(**changes)

    assert list_scores(record) == {name: 50.0}
    assert f"{name_cell(record)}/top1" == name


@pytest.mark.parametrize(
    ("names", "contents", "name"),
    [
        (("photos", "photos"), ("aaaaaaaa", "aaaaaaaa"), "knn/top1"),
        (("photos", "pictures"), ("aaaaaaaa", "bbbbbbbb"), "pictures/knn/top1"),
        (("photos", "photos"), ("aaaaaaaa", "bbbbbbbb"), "photos (bbbbbb)/knn/top1"),
    ],
)
def test_scores_on_two_folders_have_names_of_their_own(
    names: tuple[str, str], contents: tuple[str, str], name: str
) -> None:
    roles = ("dataset", "eval_dataset")
    cell = {"evaluator": "knn", "label_frac": 1.0} | dict.fromkeys(roles, "image_folder")
    cell |= {f"{role}_name": one for role, one in zip(roles, names, strict=True)}
    record = {"cell": cell, "contents": dict(zip(roles, contents, strict=True))}

    assert list_scores({**record, "metrics": {"top1": {"value": 50.0}}}) == {name: 50.0}


class Tracker:
    """Stand for the client of a tracker: note what it is told of scores."""

    def __init__(self) -> None:
        self.said: dict[str, Any] = {}
        self.opened: list[Any] = []
        self.summary, self.id, self.info = self.said, "id", self
        self.experiment_id = self.run_id = "id"

    def writer(self, folder: str, purge_step: int | None) -> Tracker:
        self.opened.append(purge_step)
        return self

    def add_text(self, tag: str, text: str) -> None:
        self.said[tag] = text

    def set_tag(self, run: str, tag: str, text: str) -> None:
        self.said[tag] = text

    def search_runs(self, *_: Any, **__: Any) -> list[Tracker]:
        return [self]

    def get_experiment_by_name(self, name: str) -> Tracker:
        return self

    def ignore(self, *_: Any, **__: Any) -> None:
        pass

    add_scalar = log_batch = define_metric = finish = flush = close = ignore


@pytest.fixture
def tracker(monkeypatch: pytest.MonkeyPatch) -> Tracker:
    """Put a tracker in the place of the packages of all."""
    found = Tracker()
    modules = {
        "torch.utils.tensorboard": {"SummaryWriter": found.writer},
        "wandb": {"Settings": dict, "init": lambda **_: found},
        "mlflow": {"MlflowClient": lambda _: found},
        "mlflow.tracking": {"is_tracking_uri_set": lambda: True},
        "mlflow.entities": {"Metric": lambda *values: values},
    }
    for name, content in modules.items():
        module = types.ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    return found


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "mlflow"])
def test_each_cell_has_a_status_which_a_later_success_goes_over(
    name: str, tracker: Tracker, tmp_path: Path
) -> None:
    cls = Registry.load().load_class("loggers", name)
    log_failures_and_one_success(cls(cls.Config(), tmp_path))
    few, more = ("1%", "10%") if name != "mlflow" else ("1 percent", "10 percent")
    at = "@" if name != "mlflow" else " at "

    assert tracker.said[f"scores/knn{at}{few}/status"] == "failed: it broke"
    assert tracker.said[f"scores/knn{at}{more}/status"] == "ok"


@pytest.mark.parametrize(("epochs", "purged"), [(0, None), (1, 201), (3, 401)])
def test_what_was_done_before_a_training_goes_on_is_kept(
    epochs: int, purged: int | None, tracker: Tracker, tmp_path: Path
) -> None:
    cls = Registry.load().load_class("loggers", "tensorboard")
    cls(cls.Config(), tmp_path).start(resume(RUN, epochs))

    assert tracker.opened == [purged]  # RUN has 100 steps an epoch, of any of which a checkpoint may be

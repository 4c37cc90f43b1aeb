"""Observers hear of a run in order and in plain values."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import PROBE, Lab

from bench.execution.executors.local import Local
from bench.execution.observers import Observers
from bench.pretraining.training_run import TrainingRun
from bench.registry.registry import Registry

Observing = Callable[[str, str], Any]


def test_observers_are_told_of_runs_epochs_and_cells_in_order(probing: Lab, probes: Any) -> None:
    cells = probing.plan(**PROBE, evaluator=("knn", "witness"))
    probing.run(cells)
    key = cells[0].keys.backbone
    lines = (probing.artifact(key) / "metrics.jsonl").read_text().splitlines()
    epochs = [("epoch", key, epoch, json.loads(line)) for epoch, line in enumerate(lines, 1)]
    ends = [("cell", cell.keys.score, "ok", key) for cell in cells]

    assert [("start", key, 0), *epochs, ("end", key, "ok"), *ends] == probes.TOLD


def test_a_run_is_described_in_plain_values(observing: Observing, lab: Lab) -> None:
    plugin = observing("describes", """
        import dataclasses

        @hookimpl
        def bench_run_start(run):
            seen.append(dataclasses.asdict(run))
    """)  # fmt: skip
    lab = Lab(lab.folder, Registry.load())
    (cell,) = lab.plan({"method.temperature": 0.3, "knn.k": 3}, method="simclr", seed=4)
    lab.run([cell])
    (run,) = plugin.seen

    assert run == json.loads(json.dumps(run))
    assert (run["method"], run["backbone"], run["dataset"], run["seed"]) == (
        "simclr", "test_resnet", "digits", 4,
    )  # fmt: skip
    assert run["key"] == cell.keys.backbone
    assert run["settings"]["method.temperature"] == 0.3
    assert "knn.k" not in run["settings"]
    assert run["training"]["batch_size"] == 16
    assert (run["epochs"], run["steps"], run["resumed_epoch"]) == (2, 6, 0)
    assert run["results"] == str(lab.folder)
    assert run["folder"] == str(lab.artifact(".work") / cell.keys.backbone)


def test_a_run_that_goes_on_says_after_which_epoch(
    probing: Lab, probes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    defaults = TrainingRun.__init__.__kwdefaults__
    monkeypatch.setattr(TrainingRun.__init__, "__kwdefaults__", {**defaults, "checkpoint_every_s": 0.0})
    cells = probing.plan(**PROBE)
    probes.BREAK |= {"how": "raise", "step": 5}
    probing.run(cells)
    probes.BREAK.clear()
    probing.run(cells)
    starts = [event for event in probes.TOLD if event[0] in ("start", "end")]
    key = cells[0].keys.backbone

    assert starts == [
        ("start", key, 0), ("end", key, "failed"), ("start", key, 1), ("end", key, "ok"),
    ]  # fmt: skip


def test_steps_are_told_of_only_where_an_interval_is_named(observing: Observing, lab: Lab) -> None:
    every_second = observing("everysecond", """
        @hookimpl
        def bench_step_interval():
            return 2

        @hookimpl
        def bench_step_end(run, step, metrics):
            seen.append((run.key, step, sorted(metrics)))
    """)  # fmt: skip
    never = observing("never", """
        @hookimpl
        def bench_step_end(run, step):
            seen.append(step)
    """)  # fmt: skip
    lab = Lab(lab.folder, Registry.load())
    (cell,) = lab.plan(method="simclr")
    lab.run([cell])

    assert every_second.seen == [(cell.keys.backbone, step, ["contrastive"]) for step in (2, 4, 6)]
    assert never.seen == []


@pytest.mark.parametrize("answer", ["0", "'often'", "1 / 0"])
def test_an_interval_that_is_none_is_a_warning_and_no_steps(
    observing: Observing, caplog: pytest.LogCaptureFixture, answer: str
) -> None:
    plugin = observing("mistaken", f"""
        @hookimpl
        def bench_step_interval():
            return {answer}

        @hookimpl
        def bench_step_end(step):
            seen.append(step)
    """)  # fmt: skip
    observers = Observers(Registry.load())
    observers.notify_step(1, {}, run=None)
    observers.drain()

    assert plugin.seen == []
    assert "mistaken:point: bench_step_interval r" in caplog.text


def test_each_plugin_has_copies_of_its_own(observing: Observing) -> None:
    observing("aclears", "@hookimpl\ndef bench_cell_end(record):\n    record.clear()\n")
    reader = observing("breads", "@hookimpl\ndef bench_cell_end(record):\n    seen.append(record)\n")
    observers, record = Observers(Registry.load()), {"status": "ok"}
    observers.notify("bench_cell_end", record=record, run=None)
    observers.drain()

    assert reader.seen == [{"status": "ok"}]
    assert record == {"status": "ok"}


@pytest.mark.long
def test_observers_of_several_processes_are_told_in_theirs(
    observing: Observing, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    observing("writes", f"""
        from pathlib import Path

        def write(line):
            with (Path({str(tmp_path)!r}) / f"{{os.getpid()}}.log").open("a") as file:
                file.write(line + "\\n")

        @hookimpl
        def bench_run_start(run):
            write("start " + run.key)

        @hookimpl
        def bench_epoch_end(run, epoch):
            write(f"epoch {{epoch}} " + run.key)

        @hookimpl
        def bench_run_end(run, status):
            write(f"end {{status}} " + run.key)

        @hookimpl
        def bench_cell_end(record):
            time.sleep(0.2)
            write("cell " + record["keys"]["backbone"])
    """)  # fmt: skip
    lab = Lab(lab.folder, Registry.load())
    cells = lab.plan(method="simclr", seed=(0, 1))
    records = list(Local().run(lab.spec(jobs=2), [[cell] for cell in cells]))
    logs = {path.read_text() for path in tmp_path.glob("*.log")}
    keys = [cell.keys.backbone for cell in cells]

    assert [record["status"] for record in records] == ["ok", "ok"]
    assert logs == {f"start {k}\nepoch 1 {k}\nepoch 2 {k}\nend ok {k}\ncell {k}\n" for k in keys}

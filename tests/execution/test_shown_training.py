"""A run says how far it is in files that go with it, and its records are the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from conftest import Lab, without_times

from bench.execution.executors.local import Local
from bench.execution.experiment import plan_experiment
from bench.execution.shown_training import ShownTraining
from bench.planning.options import merge_options
from bench.system import heartbeat
from bench.system.heartbeat import Heartbeat, look_around
from bench.system.stage_watch import StageWatch


class Listener(Heartbeat):
    """A heartbeat that keeps what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[Any, ...]] = []

    def begin(self, **work: Any) -> None:
        super().begin(**work)
        self.heard.append(("begin", work.get("cell")))

    def enter(self, stage: str) -> None:
        super().enter(stage)
        self.heard.append(("enter", stage))

    def leave(self) -> None:
        super().leave()
        self.heard.append(("leave",))

    def tell(self, **detail: Any) -> None:
        super().tell(**detail)
        self.heard.append(("tell", detail))

    def told(self) -> list[Mapping[str, Any]]:
        return [what[1] for what in self.heard if what[0] == "tell"]


def test_a_training_tells_every_step_where_it_is(lab: Lab) -> None:
    listener = Listener()
    cells = lab.plan(method="simclr")
    list(lab.pipeline(StageWatch(heartbeat=listener)).run(cells))
    start, *steps = listener.told()

    assert ("begin", cells[0].title) in listener.heard
    assert [what[1] for what in listener.heard if what[0] == "enter" and what[1] != "data"] == [
        "features",
        "pretrain",
        "features",
        "evaluate",
    ]
    assert (start["epoch"], start["epochs"]) == (0, 2)
    assert [(one["epoch"], one["step"], one["steps"]) for one in steps] == [
        (1, 1, 6), (1, 2, 6), (1, 3, 6), (2, 4, 6), (2, 5, 6), (2, 6, 6),
    ]  # fmt: skip
    assert [one["knn_top1"] is None for one in steps] == [True] * 3 + [steps[3]["knn_top1"] is None] * 3
    assert all(one["terms"]["contrastive"] > 0 and one["images_per_s"] > 0 for one in steps)
    assert steps[-1]["seconds_left"] == 0


def test_speed_and_time_left_are_of_this_process_and_knn_is_the_last_known(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cell,) = lab.plan(method="simclr", settings={"train.epochs": 10})
    listener = Listener()
    shown = ShownTraining(listener, cell)
    monkeypatch.setattr("bench.execution.shown_training.time.monotonic", lambda: 100.0)
    shown.start(5)
    monkeypatch.setattr("bench.execution.shown_training.time.monotonic", lambda: 102.0)
    shown.end_epoch({"online_knn_top1": 40.0})
    shown.end_epoch({"loss": 1.0})
    shown.end_step(20, {"contrastive": 2.0})
    told = listener.told()[-1]

    assert cell.steps == 30
    assert told["images_per_s"] == pytest.approx(5 * 16 / 2)
    assert told["seconds_left"] == pytest.approx(10 * 2 / 5)
    assert (told["epoch"], told["knn_top1"]) == (7, 40.0)


def test_a_run_says_how_many_cells_are_done_and_leaves_nothing(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_S", 0.01)
    options = {
        "method": "random", "backbone": "test_resnet", "eval": "knn", "seed": [0, 1], "image_size": 16,
        "set": {"dataset.max_train": 48}, "device": "cpu", "results": str(lab.folder),
    }  # fmt: skip
    experiment = plan_experiment(merge_options(None, options), lab.registry)
    seen = []
    for _ in experiment.run():
        while not (sightings := {one.said["kind"]: one.said for one in look_around(lab.folder)}):
            pass
        while sightings["run"]["done"] != len(seen) + 1:
            sightings = {one.said["kind"]: one.said for one in look_around(lab.folder)}
        seen.append(sightings)

    assert [(one["run"]["done"], one["run"]["cells"]) for one in seen] == [(1, 2), (2, 2)]
    assert seen[1]["worker"]["cell"] == experiment.cells[1].title
    assert seen[1]["worker"]["run"] == seen[1]["run"]["run"] == experiment.spec.run
    assert not (lab.folder / "running").exists()


@pytest.mark.long
def test_workers_in_processes_say_what_they_do_and_leave_nothing(probing: Lab) -> None:
    cells = probing.plan(method="random", backbone="tiny", seed=(0, 1))
    spec = probing.spec(jobs=2)
    records = list(Local().run(spec, [[cell] for cell in cells]))

    assert [record["status"] for record in records] == ["ok", "ok"]
    assert look_around(probing.folder) == []


def test_records_and_artifacts_are_the_same_whoever_watches(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = lab.plan(method="simclr")
    monkeypatch.setattr(heartbeat, "BEAT_S", 0.0)
    watched = lab.run(cells)
    monkeypatch.setattr(Heartbeat, "_beat", lambda *_: None)
    alone = lab.beside("alone").run(cells)

    assert [without_times(record) for record in watched] == [without_times(record) for record in alone]
    assert watched[0]["keys"] == alone[0]["keys"]

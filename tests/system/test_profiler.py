"""A profile says where the time went and changes no number."""

from __future__ import annotations

import gzip
import json
import math
import shutil
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import Lab, without_times
from torch.autograd import DeviceType

from bench.cli.main import main
from bench.evaluation.features import FILE
from bench.storage.artifact_files import BACKBONE
from bench.system import profiler as profiling
from bench.system.profiler import Profiler, mark, stage_times
from bench.system.stage_timer import StageTimer
from bench.system.stage_watch import StageWatch

STAGES = {"data", "views", "forward", "terms", "backward", "optimiser", "monitors"}
SHORT = {"train.epochs": 1}
AXES = {"dataset.max_train": 48, "train.batch_size": 16, "train.image_size": 16}
HEADING = "stage of the run"


def profiled(lab: Lab, settings: dict[str, Any], **axes: Any) -> tuple[list[Path], list[dict[str, Any]]]:
    timer = StageTimer()
    profiler = Profiler(lab.folder / "profiles", torch.device("cpu"), timer)
    pipeline = lab.pipeline(StageWatch(timer, profiler))
    records = list(pipeline.run(lab.plan(settings, method="simclr", **axes)))
    return profiler.written, records


def key_of(trace: Path) -> str:
    return trace.name.removesuffix(".pt.trace.json.gz")


def events_of(trace: Path) -> list[dict[str, Any]]:
    """Return the events of a trace, having checked what viewers ask of it.

    https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
    """
    events: list[dict[str, Any]] = json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]
    flows = [{event["id"] for event in events if event["ph"] == phase} for phase in "sf"]

    assert {event["ph"] for event in events} <= {"X", "M", "i", "s", "f"}
    assert all(isinstance(event["name"], str) and {"pid", "tid"} <= event.keys() for event in events)
    assert all(math.isfinite(event["ts"]) for event in events if event["ph"] != "M")
    assert all(event["dur"] >= 0 for event in events if event["ph"] == "X")
    assert all("args" in event for event in events if event["ph"] == "M")
    assert flows[0] == flows[1]
    return events


def names_of(trace: Path) -> set[str]:
    return {event["name"] for event in events_of(trace)}


@pytest.fixture(autouse=True)
def short_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a trace of an evaluator small, or reading it takes seconds."""
    monkeypatch.setattr(profiling, "CALLS", 500)


def event(name: str, start: float, end: float, kernels: tuple[float, ...] = ()) -> Any:
    return SimpleNamespace(
        name=name,
        time_range=SimpleNamespace(start=start, end=end),
        kernels=[SimpleNamespace(duration=duration) for duration in kernels],
        device_type=DeviceType.CPU,
    )


@pytest.mark.long
def test_a_profile_changes_no_number(lab: Lab) -> None:
    _, records = profiled(lab, SHORT, evaluator=("knn", "linear"))
    plain = lab.beside("plain")
    others = plain.run(plain.plan(SHORT, method="simclr", evaluator=("knn", "linear")))
    keys = records[0]["keys"]
    files = [f"{keys['backbone']}/{BACKBONE}", f"{keys['features']['test']}/{FILE}"]

    assert [without_times(record) for record in records] == [without_times(other) for other in others]
    assert all((lab.artifact(file)).read_bytes() == plain.artifact(file).read_bytes() for file in files)


def test_there_is_a_trace_of_the_training_of_the_features_and_of_each_evaluator(lab: Lab) -> None:
    settings = {**SHORT, "knn.k": (3, 4)}
    traces, (knn, linear, *_) = profiled(lab, settings, evaluator=("knn", "linear"))
    keys = knn["keys"]

    assert [key_of(trace) for trace in traces] == [
        keys["backbone"], keys["features"]["train"], keys["score"], linear["keys"]["score"]
    ]  # fmt: skip
    assert {"bench clean images", "bench forward", "bench write", "aten::conv2d"} <= names_of(traces[1])
    assert "aten::topk" in names_of(traces[2])
    assert "aten::mm" in names_of(traces[3])


def test_a_backbone_that_is_there_has_a_profile_of_its_features_and_evaluator(lab: Lab) -> None:
    (first,) = profiled(lab, SHORT)[1]
    for key in first["keys"]["features"].values():
        shutil.rmtree(lab.artifact(key))
    traces, (record,) = profiled(lab, {**SHORT, "knn.k": 3})
    keys = record["keys"]

    assert [key_of(trace) for trace in traces] == [keys["features"]["train"], keys["score"]]


def test_a_trace_has_every_stage_of_a_step(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    trace, names = (traces := profiled(lab, {})[0])[0], names_of(traces[0])
    message = capsys.readouterr().err

    assert {f"bench {stage}" for stage in STAGES} <= names
    assert all(stage in message for stage in STAGES)
    assert "5 steps of" in message
    assert "aten::" in message
    assert str(trace) in message


def test_the_first_steps_are_left_out_and_no_more_than_ten_are_watched(
    lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    profiled(lab, {"train.epochs": 6})

    assert "10 steps of" in capsys.readouterr().err


def test_what_is_there_is_not_profiled(lab: Lab) -> None:
    profiled(lab, SHORT)

    assert profiled(lab, SHORT)[0] == []


@pytest.mark.parametrize(("most", "seconds"), [(100, 1e9), (10**9, 0.05)])
def test_a_block_is_watched_up_to_a_limit_and_not_twice(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    most: int,
    seconds: float,
) -> None:
    monkeypatch.setattr(profiling, "CALLS", most)
    monkeypatch.setattr(profiling, "SECONDS", seconds)
    profiler = Profiler(tmp_path, torch.device("cpu"), StageTimer())
    for key in ("one", "two"):
        with profiler.profile_start("work", key, "it"), mark("all of it"):
            started, calls, x = time.monotonic(), 0, torch.zeros(2)
            while calls < 1_000 or time.monotonic() - started < 0.1:
                x.add_(1)
                calls += 1
    (trace,) = profiler.written
    events = events_of(trace)
    adds = sum(event["name"] == "aten::add_" for event in events)

    assert key_of(trace) == "one"
    assert x[0] == calls
    assert adds < min(calls, most)
    assert "profile of work, it: the first " in capsys.readouterr().err
    assert any(event["name"] == "bench all of it" for event in events)


def test_a_block_that_fails_ends_its_profile(tmp_path: Path) -> None:
    profiler = Profiler(tmp_path, torch.device("cpu"), StageTimer())
    with pytest.raises(ValueError, match="broken"), profiler.profile_start("work", "key", "it"):
        raise ValueError("broken")
    with profiler.profile_start("more work", "key", "it"):
        torch.zeros(2).add_(1)

    assert len(profiler.written) == 1


def test_a_run_says_where_all_its_time_went(
    lab: Lab, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    small = [text for name, value in {**AXES, **SHORT}.items() for text in ("--set", f"{name}={value}")]
    command = ["run", "--profile", "--backbone", "test_resnet", "--eval", "knn", "--device", "cpu", *small]
    for _ in range(2):
        with pytest.raises(SystemExit) as ended:
            main([*command, "--results", str(tmp_path)])

        assert not ended.value.code
    first, second = (text.split("\n\n")[0] for text in capsys.readouterr().err.split(HEADING)[1:])
    stages = [
        {line.rsplit(maxsplit=3)[0] for line in message.splitlines()[2:]} for message in (first, second)
    ]

    assert stages[0] == {"plan", "data", "pretrain", "features", "evaluate knn", "profiler", "harness", "all"}
    assert stages[1] == {"plan", "harness", "all"}


def test_a_stage_inside_another_counts_for_itself() -> None:
    events = [event("bench views", 0, 10), event("bench data", 2, 5), event("aten::index", 2, 4)]

    assert stage_times(events, 12) == [("views", 7), ("data", 3), ("other", 2)]


def test_a_device_works_for_the_stage_that_launched_it() -> None:
    """The host is done with launching long before; autograd launches from a thread of its own."""
    events = [
        event("bench forward", 0, 2), event("aten::mm", 0, 1, (30.0,)), event("bench backward", 2, 4),
        event("aten::mm", 3, 3.5, (50.0, 5.0)), event("aten::copy_", 5, 6, (1.0,)),
    ]  # fmt: skip

    assert stage_times(events, 100) == [("backward", 55), ("forward", 30), ("other", 15)]


def test_nothing_of_torchs_own_is_said(lab: Lab, capfd: pytest.CaptureFixture[str]) -> None:
    profiled(lab, SHORT)

    assert "Handler.cpp" not in capfd.readouterr().err


def test_several_processes_are_not_profiled(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", "--profile", "--jobs", "2"])

    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        "Error: --profile: it looks at one process. Leave it, or --jobs, --threads and --executor, out.\n"
    )

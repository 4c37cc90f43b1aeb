"""A profile says where the time went and changes no number."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import Lab, without_times
from safetensors.torch import load_file
from torch.autograd import DeviceType

from bench.cli import main
from bench.profiling import Profiler, stages

STAGES = {"data", "views", "forward", "terms", "backward", "optimiser", "monitors"}
SHORT = {"train.epochs": 1}


def profiled(lab: Lab, **settings: Any) -> tuple[list[Path], dict[str, Any]]:
    workshop = lab.workshop()
    workshop.profiler = Profiler(lab.folder / "profiles", torch.device("cpu"))
    (record,) = workshop.run(lab.plan(settings, method="simclr"))
    return workshop.profiler.written, record


def event(name: str, start: float, end: float, kernels: tuple[float, ...] = ()) -> Any:
    return SimpleNamespace(
        name=name,
        time_range=SimpleNamespace(start=start, end=end),
        kernels=[SimpleNamespace(duration=duration) for duration in kernels],
        device_type=DeviceType.CPU,
    )


def test_a_profile_changes_no_number(lab: Lab) -> None:
    (trace,), record = profiled(lab, **SHORT)
    plain = lab.beside("plain")
    (other,) = plain.run(plain.plan(SHORT, method="simclr"))
    weights = [
        load_file(folder / "artifacts" / record["keys"]["backbone"] / "backbone.safetensors")
        for folder in (lab.folder, plain.folder)
    ]

    assert without_times(record) == without_times(other)
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])
    assert record["keys"]["backbone"] in trace.name


def test_a_trace_has_every_stage_of_a_step(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    (trace,), _ = profiled(lab)
    names = {event.get("name") for event in json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]}
    said = capsys.readouterr().err

    assert {f"bench {stage}" for stage in STAGES} <= names
    assert all(stage in said for stage in STAGES)
    assert "5 steps of" in said
    assert "aten::" in said
    assert str(trace) in said


def test_the_first_steps_are_left_out_and_no_more_than_ten_are_watched(
    lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    profiled(lab, **{"train.epochs": 6})

    assert "10 steps of" in capsys.readouterr().err


def test_what_is_there_is_not_profiled(lab: Lab) -> None:
    profiled(lab, **SHORT)

    assert profiled(lab, **SHORT)[0] == []


def test_a_stage_inside_another_counts_for_itself() -> None:
    events = [event("bench views", 0, 10), event("bench data", 2, 5), event("aten::index", 2, 4)]

    assert stages(events, 12) == [("views", 7), ("data", 3), ("other", 2)]


def test_a_device_works_for_the_stage_that_launched_it() -> None:
    """The host is done with launching long before; autograd launches from a thread of its own."""
    events = [
        event("bench forward", 0, 2), event("aten::mm", 0, 1, (30.0,)), event("bench backward", 2, 4),
        event("aten::mm", 3, 3.5, (50.0, 5.0)), event("aten::copy_", 5, 6, (1.0,)),
    ]  # fmt: skip

    assert stages(events, 100) == [("backward", 55), ("forward", 30), ("other", 15)]


def test_several_processes_are_not_profiled(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", "--profile", "--jobs", "2"])

    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        "Error: --profile: it looks at one process, but there are --jobs. Leave one of them out.\n"
    )

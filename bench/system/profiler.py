"""Where the time goes: some steps of a pretraining, and the start of later stages, are profiled.

Later stages are the pass for features and the evaluator. An evaluator may launch millions of operators,
and their trace would not fit into memory, so only its first seconds are profiled.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import click
import torch
from tabulate import tabulate
from torch.overrides import TorchFunctionMode
from torch.profiler import ProfilerActivity, profile, record_function, schedule

from bench.system.stage_timer import StageTimer

WARM_UP, ACTIVE = 3, 10  # steps: the first ones choose kernels and fill caches
SECONDS, CALLS = 2.0, 10_000  # of a later stage: so many calls of torch make a trace that loads in seconds
OPERATORS = 10  # lines of the table
LABEL, STEP = "bench ", "ProfilerStep"  # how the names of stages and of steps begin in a trace
OTHER = "other"
PROFILER = "profiler"  # the stage of starting profiles and writing traces
VIEWERS = "open it in ui.perfetto.dev, chrome://tracing or TensorBoard"


def mark(stage: str) -> record_function:
    """Return a context, or a decorator, that names a stage of a training step in any profile of it.

    It takes about ten microseconds, whether or not anything is profiled.
    """
    return record_function(LABEL + stage)


class Profiler:
    """Profiles parts of a run; nothing it does changes a number.

    Args:
        folder: where traces go.
        device: where the run computes.
        timer: of the run; the profiler's own time is a stage of it.
    """

    def __init__(self, folder: Path, device: torch.device, timer: StageTimer) -> None:
        # without it torch reports on stderr what it does, and that there is no GPU
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")
        self.folder, self.device, self.timer = folder, device, timer
        self.written: list[Path] = []
        self._started: set[tuple[str, str]] = set()

    @contextlib.contextmanager
    def profile_training(self, key: str, title: str, steps: int) -> Iterator[Callable[[], None]]:
        """Profile some steps of a pretraining; write a trace and print where the time went.

        Args:
            key: of the backbone, for the trace's name.
            title: how the printed table names it.
            steps: of the whole training.

        Yields:
            What is to be called at the end of every step.
        """
        warm_up = max(1, min(WARM_UP, steps - ACTIVE))
        active = max(1, min(ACTIVE, steps - warm_up))
        remaining = warm_up + active

        def report(trace: profile) -> None:
            self._report(key, trace, lambda: describe_steps(title, trace))

        plan = schedule(wait=0, warmup=warm_up, active=active, repeat=1)
        with profile(activities=self._activities(), schedule=plan, on_trace_ready=report) as trace:

            def end_step() -> None:
                nonlocal remaining
                if remaining > 0:  # the profiler does not count the steps after those it records
                    trace.step()
                    remaining -= 1

            yield end_step

    @contextlib.contextmanager
    def profile_start(self, stage: str, key: str, title: str, of: str = "") -> Iterator[None]:
        """Profile the first seconds of a block; write a trace and print where the time went.

        Args:
            stage: what the block is.
            key: of the artifact that it makes, for the trace's name.
            title: how the printed table names it.
            of: what the stage belongs to; of one stage and one `of`, the first block is profiled.
        """
        if (stage, of) in self._started:
            yield
            return
        self._started.add((stage, of))
        with self.timer.time(PROFILER):  # the first profile of a process loads a library
            trace = profile(activities=self._activities())
            trace.start()
        start = StartOfStage(trace)
        try:
            with start:
                yield
        finally:
            start.end()
        self._report(key, trace, lambda: start.describe(f"{stage}, {title}"))

    def _report(self, key: str, trace: profile, describe: Callable[[], str]) -> None:
        """Write a trace, and print its description."""
        with self.timer.time(PROFILER):
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / f"{key}.pt.trace.json.gz"
            trace.export_chrome_trace(str(path))
            self.written.append(path)
            click.echo(f"{describe()}\n\ntrace: {path} ({VIEWERS})\n", err=True)

    def _activities(self) -> list[ProfilerActivity]:
        cuda = [ProfilerActivity.CUDA] if self.device.type == "cuda" else []
        return [ProfilerActivity.CPU, *cuda]


class StartOfStage(TorchFunctionMode):
    """Ends a profile after some seconds or calls of torch.

    It does so within a call of a function of torch, because a profile has to end on the thread that started
    it.

    Args:
        trace: a profile that was started.
    """

    def __init__(self, trace: profile) -> None:
        super().__init__()
        self.trace, self.started, self.calls = trace, time.monotonic(), 0
        self.seconds = 0.0  # that were profiled; 0 while the profile goes on
        self.cut = False  # the block went on after the profile

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Call `func`, after ending the profile if it is time."""
        self.calls += 1
        if not self.seconds and (self.calls > CALLS or time.monotonic() - self.started > SECONDS):
            self.cut = True
            self.end()
        return func(*args, **(kwargs or {}))

    def end(self) -> None:
        """End the profile, if it has not ended."""
        if not self.seconds:
            self.seconds = time.monotonic() - self.started
            self.trace.stop()

    def describe(self, title: str) -> str:
        """Return where the time of a block went: by stage, if it names some, and by operator."""
        first = "the first " if self.cut else ""
        heading = f"profile of {title}: {first}{self.seconds:.2f} s"
        return _format_tables(heading, self.trace, 1e6 * self.seconds, 1, "ms")


def describe_steps(title: str, trace: profile) -> str:
    """Return where the time of some steps went, as two tables: by stage and by operator.

    Args:
        title: of the training.
        trace: a profile that has ended.
    """
    events = trace.events() or ()
    steps = [event for event in events if event.name.startswith(STEP) and not _on_device(event)]
    count, total = max(1, len(steps)), max(1e-9, sum(map(_length, steps)))
    heading = f"profile of {title}: {count} steps of {total / count / 1e3:.1f} ms"
    return _format_tables(heading, trace, total, count, "ms a step")


def _format_tables(heading: str, trace: profile, total: float, count: int, unit: str) -> str:
    by_stage = stage_times(trace.events() or (), total)
    rows = [(name, time / count, time / total) for name, time in by_stage]
    tables = [_format_table("operator", unit, _operator_times(trace, count))]
    if len(rows) > 1:  # an evaluator names no stages
        tables.insert(0, _format_table("stage", unit, rows))
    return "\n\n".join([heading, *tables])


def stage_times(events: Iterable[Any], total: float) -> list[tuple[str, float]]:
    """Return each stage's time in microseconds without the stages inside it; the rest is `other`.

    Where a GPU computes, a stage's time is the GPU's, for what the stage launched from any thread: how long
    the host took to launch it says little.

    Args:
        events: of a profile.
        total: of all its steps, in microseconds.
    """
    host = [event for event in events if not _on_device(event)]
    labels = [event for event in host if event.name.startswith(LABEL)]
    times: dict[str, float] = defaultdict(float)
    for event in host:
        if event.kernels:
            times[_stage_of(event, labels)] += sum(kernel.duration for kernel in event.kernels)
    if not times:  # no GPU: the host's own time
        for label in labels:
            times[_name(label)] += _length(label)
            times[_stage_of(label, labels)] -= _length(label)
    times[OTHER] = total - sum(time for name, time in times.items() if name != OTHER)
    return sorted(times.items(), key=lambda item: (item[0] == OTHER, -item[1]))


def _operator_times(trace: profile, count: int) -> list[tuple[str, float, float]]:
    """Return the operators that took the most time by themselves, with their time a step and share."""
    averages = [average for average in trace.key_averages() if not average.key.startswith((LABEL, STEP))]
    on_device = any(average.self_device_time_total for average in averages)
    own_time = "self_device_time_total" if on_device else "self_cpu_time_total"
    times = sorted(((getattr(average, own_time), average.key) for average in averages), reverse=True)
    total = max(1e-9, sum(time for time, _ in times))
    return [(name, time / count, time / total) for time, name in times[:OPERATORS]]


def _format_table(first: str, unit: str, rows: Iterable[tuple[str, float, float]]) -> str:
    body = [(name, f"{time / 1e3:.2f}", f"{100 * share:.0f} %") for name, time, share in rows]
    align = ("left", "right", "right")
    return tabulate(body, (first, unit, "share"), colalign=align, disable_numparse=True)


def _stage_of(event: Any, labels: Iterable[Any]) -> str:
    """Return the innermost stage around an event."""
    start, end = event.time_range.start, event.time_range.end
    around = [
        label
        for label in labels
        if label is not event and label.time_range.start <= start and end <= label.time_range.end
    ]
    return _name(min(around, key=_length)) if around else OTHER


def _name(label: Any) -> str:
    return str(label.name).removeprefix(LABEL)


def _length(event: Any) -> float:
    return float(event.time_range.end - event.time_range.start)


def _on_device(event: Any) -> bool:
    return bool(event.device_type.name != "CPU")

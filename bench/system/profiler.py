"""Where the time goes: stages are named; some of a pretraining and the start of what follows are watched.

What follows is the pass for features and the evaluator. An evaluator may launch millions of operators, of
which a trace could not be held in memory, so it is watched for its first seconds only.
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
SECONDS, CALLS = 2.0, 10_000  # of a pass or an evaluator; of functions of torch: seconds to read
OPERATORS = 10  # lines of the table
LABEL, STEP = "bench ", "ProfilerStep"  # what a stage's and a step's name in the trace starts with
OTHER = "other"
PROFILER = "profiler"  # what a run spends on it, but for what slows down the operators it watches
VIEWERS = "open it in ui.perfetto.dev, chrome://tracing or TensorBoard"


def mark(stage: str) -> record_function:
    """Return a context, or a decorator, that names a stage of a training step in any profile of it.

    It takes about ten microseconds, whether or not anything is profiled.
    """
    return record_function(LABEL + stage)


class Profiler:
    """Watches parts of a run; nothing it does changes a number.

    Args:
        folder: where traces go.
        device: where is computed.
        spent: the time of the run, of which its own is told apart.
    """

    def __init__(self, folder: Path, device: torch.device, spent: StageTimer) -> None:
        # else torch says on stderr what it does, and that there is no GPU
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")
        self.folder, self.device, self.spent = folder, device, spent
        self.written: list[Path] = []
        self._begun: set[tuple[str, str]] = set()

    @contextlib.contextmanager
    def profile_training(self, key: str, what: str, steps: int) -> Iterator[Callable[[], None]]:
        """Watch a pretraining; write a trace and print where the time went.

        Args:
            key: of the backbone, for the trace's name.
            what: how the printed table names it.
            steps: of the whole training.

        Yields:
            What is to be called at the end of every step.
        """
        warm_up = max(1, min(WARM_UP, steps - ACTIVE))
        active = max(1, min(ACTIVE, steps - warm_up))
        left = warm_up + active

        def ready(watched: Any) -> None:
            self._tell(key, watched, lambda: describe_steps(what, watched))

        plan = schedule(wait=0, warmup=warm_up, active=active, repeat=1)
        with profile(activities=self._activities(), schedule=plan, on_trace_ready=ready) as watched:

            def step() -> None:
                nonlocal left
                if left > 0:  # a step that nobody watches is not counted
                    watched.step()
                    left -= 1

            yield step

    @contextlib.contextmanager
    def profile_start(self, stage: str, key: str, what: str, of: str = "") -> Iterator[None]:
        """Watch the first seconds of a block; write a trace and print where the time went.

        Args:
            stage: what the block is.
            key: of what it makes, for the trace's name.
            what: how the printed table names it.
            of: of what the stage is; another block of the same stage and `of` is not watched.
        """
        if (stage, of) in self._begun:
            yield
            return
        self._begun.add((stage, of))
        with self.spent.time(PROFILER):  # the first profile of a process loads a library
            watched = profile(activities=self._activities())
            watched.start()
        beginning = StartOfStage(watched)
        try:
            with beginning:
                yield
        finally:
            beginning.end()
        self._tell(key, watched, lambda: beginning.described(f"{stage}, {what}"))

    def _tell(self, key: str, watched: Any, described: Callable[[], str]) -> None:
        with self.spent.time(PROFILER):
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / f"{key}.pt.trace.json.gz"
            watched.export_chrome_trace(str(path))
            self.written.append(path)
            click.echo(f"{described()}\n\ntrace: {path} ({VIEWERS})\n", err=True)

    def _activities(self) -> list[ProfilerActivity]:
        cuda = [ProfilerActivity.CUDA] if self.device.type == "cuda" else []
        return [ProfilerActivity.CPU, *cuda]


class StartOfStage(TorchFunctionMode):
    """Ends a profile once it has seen enough: at the next call of a function of torch, on its own thread.

    Args:
        watched: a `torch.profiler.profile` that was started.
    """

    def __init__(self, watched: Any) -> None:
        super().__init__()
        self.watched, self.calls, self.started = watched, 0, time.monotonic()
        self.seconds, self.cut = 0.0, False  # watched; there was more

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Call `func`, having ended the profile if it is time."""
        self.calls += 1
        if not self.seconds and (self.calls > CALLS or time.monotonic() - self.started > SECONDS):
            self.cut = True
            self.end()
        return func(*args, **(kwargs or {}))

    def end(self) -> None:
        """End the profile, if it has not ended."""
        if not self.seconds:
            self.seconds = time.monotonic() - self.started
            self.watched.stop()

    def described(self, what: str) -> str:
        """Return where the time of `what` went: by stage, if some are named, and by operator."""
        head = f"profile of {what}: {'the first ' if self.cut else ''}{self.seconds:.2f} s"
        return _tables(head, self.watched, 1e6 * self.seconds, 1, "ms")


def describe_steps(what: str, watched: Any) -> str:
    """Return where the time of some steps went, as two tables: by stage and by operator.

    Args:
        what: was profiled.
        watched: a `torch.profiler.profile` that has ended.
    """
    steps = [event for event in watched.events() if event.name.startswith(STEP) and not _on_device(event)]
    count, total = max(1, len(steps)), max(1e-9, sum(map(_length, steps)))
    head = f"profile of {what}: {count} steps of {total / count / 1e3:.1f} ms"
    return _tables(head, watched, total, count, "ms a step")


def _tables(head: str, watched: Any, total: float, count: int, unit: str) -> str:
    spent = [(name, time / count, time / total) for name, time in stages(watched.events(), total)]
    by_stage = [_table("stage", unit, spent)] if len(spent) > 1 else []  # an evaluator names none
    return "\n\n".join([head, *by_stage, _table("operator", unit, _operators(watched, count))])


def stages(events: Iterable[Any], total: float) -> list[tuple[str, float]]:
    """Return each stage's time in microseconds without the stages inside it; what is left is `other`.

    Where a device works on its own, it is the device's time of what a stage launched from any thread:
    how long the host took to launch it says little.

    Args:
        events: of a profile.
        total: of all its steps, in microseconds.
    """
    host = [event for event in events if not _on_device(event)]
    labels = [event for event in host if event.name.startswith(LABEL)]
    spent: dict[str, float] = defaultdict(float)
    for event in (event for event in host if event.kernels):
        spent[_stage_of(event, labels)] += sum(kernel.duration for kernel in event.kernels)
    if not spent:
        for label in labels:
            spent[_name(label)] += _length(label)
            spent[_stage_of(label, labels)] -= _length(label)
    spent[OTHER] = total - sum(time for name, time in spent.items() if name != OTHER)
    return sorted(spent.items(), key=lambda item: (item[0] == OTHER, -item[1]))


def _operators(watched: Any, count: int) -> list[tuple[str, float, float]]:
    """Return the operators that took the most time by themselves, with their time a step and share."""
    found = [average for average in watched.key_averages() if not average.key.startswith((LABEL, STEP))]
    on_device = any(average.self_device_time_total for average in found)
    spent = "self_device_time_total" if on_device else "self_cpu_time_total"
    times = sorted(((getattr(average, spent), average.key) for average in found), reverse=True)
    total = max(1e-9, sum(time for time, _ in times))
    return [(name, time / count, time / total) for time, name in times[:OPERATORS]]


def _table(first: str, unit: str, rows: Iterable[tuple[str, float, float]]) -> str:
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

"""Two ways to do one thing, timed in turn: what a machine does beside them changes both alike."""

from __future__ import annotations

import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Clock = Callable[[], float]


@dataclass(frozen=True)
class Ratio:
    """How many times the time of one the other takes.

    Args:
        value: of the medians.
        low: least of the pairs.
        high: most of the pairs.
        ours: median seconds.
        theirs: median seconds.
    """

    value: float
    low: float
    high: float
    ours: float
    theirs: float


def side_by_side(
    benchmark: Any,
    ours: Callable[[], Any],
    theirs: Callable[[], Any],
    *,
    what: str,
    goal: str,
    rounds: int = 5,
    faster: bool = False,
    warm_up: bool = True,
    clock: Clock = time.process_time,
) -> Ratio:
    """Time both in turn and keep the ratio for the table; pytest-benchmark's own time is of all rounds.

    Args:
        benchmark: the fixture.
        ours: what is measured.
        theirs: what it is measured against.
        what: the table's first column.
        goal: `at least N` or `at most N`.
        rounds: of each.
        warm_up: both are run once before; leave it out of what takes long.
        faster: the ratio is theirs / ours, as of a speed; else ours / theirs, as of a cost.
        clock: in seconds.
    """

    def alternate() -> list[tuple[float, float]]:
        return [(_seconds(ours, clock), _seconds(theirs, clock)) for _ in range(rounds + warm_up)]

    pairs = benchmark.pedantic(alternate, rounds=1)[warm_up:]
    quotients = [theirs / ours if faster else ours / theirs for ours, theirs in pairs]
    medians = [statistics.median(column) for column in zip(*pairs, strict=True)]
    value = medians[1] / medians[0] if faster else medians[0] / medians[1]
    benchmark.extra_info.update(
        what=what, goal=goal, ratio=value, spread=f"{min(quotients):.3g} to {max(quotients):.3g}"
    )
    return Ratio(value, min(quotients), max(quotients), *medians)


def say(benchmark: Any, *, what: str, goal: str, value: float | None = None) -> None:
    """Keep a row of the table: `value`, or the benchmark's own median in seconds."""
    stats = benchmark.stats.stats
    found = stats.median if value is None else value
    benchmark.extra_info.update(what=what, goal=goal, ratio=found)
    if value is None:
        benchmark.extra_info["spread"] = f"{stats.min:.3g} to {stats.max:.3g}"


def run_quietly(command: Sequence[str]) -> None:
    """Run a command to its end, its output thrown away."""
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - the benchmarks' own commands


def of_children() -> float:
    """Return the processor's seconds of all processes that were started and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _seconds(run: Callable[[], Any], clock: Clock) -> float:
    started = clock()
    run()
    return clock() - started

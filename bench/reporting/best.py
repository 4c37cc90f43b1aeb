"""Mark the best cells of each task, where the data show that others are worse."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bench.reporting.comparisons import Best, Comparison, ReadPredictions
from bench.reporting.pivot import Pivot, Position, SeedGroup, is_of_task
from bench.reporting.significance import reject_by_holm

Task = tuple[Any, ...]


@dataclass(frozen=True)
class Marks:
    """The cells that are marked, and why no others are.

    Args:
        best: the best cell of each task that has a significantly worse one, and all others of it that are not
            significantly worse than the best.
        tests: that were made, in words, each once.
        untested: the metrics of tasks in which not every cell could be tested against the best.
        one_seed_a_cell: seeds have cells of their own, so that nothing is compared.
    """

    best: frozenset[Position] = frozenset()
    tests: tuple[str, ...] = ()
    untested: tuple[str, ...] = ()
    one_seed_a_cell: bool = False


def find_best(pivot: Pivot, read: ReadPredictions) -> Marks:
    """Return which cells are marked.

    Args:
        pivot: the table's groups.
        read: returns the predictions of a score's key, none where they are not stored.
    """
    if "seed" in (*pivot.layout.rows, *pivot.layout.cols):
        return Marks(one_seed_a_cell=True)
    best: set[Position] = set()
    tests: dict[str, None] = {}
    untested: dict[str, None] = {}
    for groups in _list_tasks(pivot):
        (first, top), *others = groups.items()
        comparisons = _compare_all(top, [other for _, other in others], read)
        if comparisons is None:
            untested[top.metric] = None
            continue
        tests.update(dict.fromkeys(one.test for one in comparisons if one.test))
        worse = reject_by_holm([one.p for one in comparisons])
        if any(worse):
            best.add(first)
            best.update(place for (place, _), is_worse in zip(others, worse, strict=True) if not is_worse)
    return Marks(frozenset(best), tuple(sorted(tests)), tuple(untested))


def _list_tasks(pivot: Pivot) -> Iterator[dict[Position, SeedGroup]]:
    """Yield the cells of each task that has several, the best first; not of a metric without a direction."""
    tasks: dict[Task, dict[Position, SeedGroup]] = defaultdict(dict)
    for position, group in pivot.groups.items():
        if group.mean is not None and math.isfinite(group.mean) and group.higher_is_better is not None:
            tasks[_task_of(pivot, position)][position] = group
    for groups in tasks.values():
        if len(groups) > 1:
            yield dict(sorted(groups.items(), key=lambda item: _badness(item[1])))


def _badness(group: SeedGroup) -> float:
    mean = group.mean or 0.0
    return -mean if group.higher_is_better else mean


def _compare_all(
    top: SeedGroup, others: Sequence[SeedGroup], read: ReadPredictions
) -> list[Comparison] | None:
    """Return the comparison of the best cell with each other one; none if for one of them there is no test.

    A mark says of every cell of the task that it is worse or may be as good: it takes all of them.
    """
    best, comparisons = Best(top, len(others), read), []
    for other in others:
        comparison = best.compare(other)
        if comparison is None:
            return None
        comparisons.append(comparison)
    return comparisons


def _task_of(pivot: Pivot, position: Position) -> Task:
    """Return what cells must have in common to be compared, wherever these axes lie.

    That is what they are evaluated on and how; of what they were trained on, only what goes across:
    in rows, a training set is one more thing that may be the better one.
    """
    layout, (row, column) = pivot.layout, position
    values = dict(zip((*layout.rows, *layout.cols), (*row, *column), strict=True))
    if "dataset" in layout.rows:
        del values["dataset"]
    group = pivot.groups[position]
    evaluated = group.points[0].axes["eval_dataset"]
    return (evaluated, group.metric, *(value for axis, value in values.items() if is_of_task(axis)))

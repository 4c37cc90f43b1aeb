"""Bound every cell, and mark the best of each task where the data show that others are worse."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.reporting.comparisons import Comparison, compare, print_alike
from bench.reporting.evidence import Bounds, Evidence, ReadPredictions
from bench.reporting.pivot import Pivot, Position, SeedGroup, is_of_task
from bench.statistics.multiple import adjust_by_holm, count_pairs
from bench.statistics.parts import LEVEL

Task = tuple[Any, ...]


@dataclass
class Marks:
    """The interval of each cell, the cells that are marked, and why no others are.

    Args:
        bounds: the interval of each cell that has one.
        best: the best cell of each task that has a significantly worse one, and all others of it that are not
            significantly worse than the best.
        tests: that were made, in words, each once.
        tested: how many tasks have all their tests.
        unmarked: in how many of these nothing is significantly worse than the best.
        untested: of each metric of a task in which not every cell could be tested against the best, why.
        one_seed_a_cell: seeds have cells of their own, so that nothing is compared.
    """

    bounds: dict[Position, Bounds] = field(default_factory=dict)
    best: set[Position] = field(default_factory=set)
    tests: set[str] = field(default_factory=set)
    tested: int = 0
    unmarked: int = 0
    untested: dict[str, dict[str, None]] = field(default_factory=lambda: defaultdict(dict))
    one_seed_a_cell: bool = False


def find_best(pivot: Pivot, read: ReadPredictions) -> Marks:
    """Return the intervals of all cells, and which cells are marked.

    Args:
        pivot: the table's groups.
        read: returns the predictions of a score's key, none where they are not stored.
    """
    marks = Marks(one_seed_a_cell="seed" in (*pivot.layout.rows, *pivot.layout.cols))
    for groups in _list_tasks(pivot).values():
        task = {position: Evidence(group, read) for position, group in groups.items()}
        found = {position: evidence.bounds for position, evidence in task.items()}
        marks.bounds |= {position: bounds for position, bounds in found.items() if bounds}
        if not marks.one_seed_a_cell:
            _mark(marks, task)
    return marks


def _mark(marks: Marks, task: Mapping[Position, Evidence]) -> None:
    """Mark the best of a task, or note why none is."""
    directed = {position: evidence for position, evidence in task.items() if _can_be_best(evidence.group)}
    if len(directed) < 2:
        return
    (first, top), *others = sorted(directed.items(), key=lambda item: _badness(item[1].group))
    comparisons = _compare_all(top, [other for _, other in others])
    if isinstance(comparisons, str):
        marks.untested[top.group.metric][comparisons] = None
        return
    tests = {one.test for one in comparisons if one.test}
    if not tests:
        return  # all print alike
    marks.tested += 1
    marks.tests |= tests
    adjusted = adjust_by_holm([one.p for one in comparisons], count_pairs(len(directed)))
    if min(adjusted) > LEVEL:
        marks.unmarked += 1
        return
    marks.best.add(first)
    marks.best.update(place for (place, _), p in zip(others, adjusted, strict=True) if p > LEVEL)


def _list_tasks(pivot: Pivot) -> dict[Task, dict[Position, SeedGroup]]:
    """Return the cells of each task."""
    tasks: dict[Task, dict[Position, SeedGroup]] = defaultdict(dict)
    for position, group in pivot.groups.items():
        tasks[_task_of(pivot, position)][position] = group
    return tasks


def _can_be_best(group: SeedGroup) -> bool:
    return group.mean is not None and math.isfinite(group.mean) and group.higher_is_better is not None


def _badness(group: SeedGroup) -> float:
    mean = group.mean or 0.0
    return -mean if group.higher_is_better else mean


def _compare_all(top: Evidence, others: list[Evidence]) -> list[Comparison] | str:
    """Return the comparison of the best cell with each other one; or why one of them has none.

    A mark says of every cell of the task that it is worse or may be as good: it takes all of them.
    """
    strictest, comparisons = LEVEL / count_pairs(len(others) + 1), []
    for other in others:
        found = Comparison(1.0, None) if print_alike(top, other) else compare(top, other, strictest)
        if isinstance(found, str):
            return found
        comparisons.append(found)
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

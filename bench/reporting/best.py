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
    for task in _list_tasks(pivot).values():
        _look_at(marks, task, read)
    return marks


def _look_at(marks: Marks, task: Mapping[Position, SeedGroup], read: ReadPredictions) -> None:
    """Bound the cells of a task and compare them with the best, one by one, as predictions are large."""
    ranked = sorted(filter(lambda p: _can_be_best(task[p]), task), key=lambda p: _badness(task[p]))
    others = set() if marks.one_seed_a_cell else set(ranked[1:])
    top = Evidence(task[ranked[0]], read) if others else None
    strictest = LEVEL / max(1, count_pairs(len(ranked)))
    found: dict[Position, Comparison | str] = {}
    for position, group in task.items():
        cell = top if top and position == ranked[0] else Evidence(group, read)
        if cell.bounds:
            marks.bounds[position] = cell.bounds
        if top and position in others:
            alike = print_alike(top, cell)
            found[position] = Comparison(1.0, None) if alike else compare(top, cell, strictest)
    if found:
        _mark(marks, ranked[0], task[ranked[0]].metric, found)


def _mark(marks: Marks, first: Position, metric: str, found: Mapping[Position, Comparison | str]) -> None:
    """Mark the best of a task, or note why none is.

    A mark says of every cell of the task that it is worse or may be as good: it takes all of them.

    Args:
        marks: what is marked.
        first: the best cell.
        metric: that is compared.
        found: the comparison of the best with each other cell, or why there is none.
    """
    comparisons = {place: each for place, each in found.items() if isinstance(each, Comparison)}
    if len(comparisons) < len(found):
        marks.untested[metric] |= dict.fromkeys(each for each in found.values() if isinstance(each, str))
        return
    tests = {each.test for each in comparisons.values() if each.test}
    if not tests:
        return  # all print alike
    marks.tested += 1
    marks.tests |= tests
    adjusted = adjust_by_holm([each.p for each in comparisons.values()], count_pairs(len(found) + 1))
    if min(adjusted) > LEVEL:
        marks.unmarked += 1
        return
    marks.best.add(first)
    marks.best.update(place for place, p in zip(comparisons, adjusted, strict=True) if p > LEVEL)


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

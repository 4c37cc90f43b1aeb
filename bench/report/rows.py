"""Choose which records figures are about: of each test set one task, and of that the best rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.reporting.axes import RecordPoint, Survey, survey_records
from bench.reporting.headings import format_label
from bench.reporting.metric_choice import USUAL_METRIC

Record = Mapping[str, Any]

MOST_ROWS = 8  # of a figure: as many as there are colours
ROW_FIELDS = ("method", "backbone", "dataset")


@dataclass(frozen=True)
class Row:
    """Records that differ in their seed alone.

    Args:
        name: what tells them from the other rows.
        records: by seed, ascending.
    """

    name: str
    records: tuple[Record, ...]

    @property
    def score(self) -> float:
        """The mean accuracy."""
        values = [record["metrics"][USUAL_METRIC]["value"] for record in self.records]
        return float(sum(values) / len(values))


@dataclass(frozen=True)
class TestSet:
    """What figures show of one test set.

    Args:
        name: of the data set, which it shares with no other.
        task: how it was evaluated, for people.
        rows: the best first.
        count: how many rows there are in all.
    """

    name: str
    task: str
    rows: tuple[Row, ...]
    count: int

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes."""
        return tuple(self.rows[0].records[0].get("classes") or ())


def choose_test_sets(records: Iterable[Record]) -> tuple[TestSet, ...]:
    """Return the test sets that there are accuracies on.

    Of each the task is shown that most rows were evaluated by; of several that with calibrated answers, and
    then that with the most labels.
    """
    survey = survey_records([one for one in records if USUAL_METRIC in (one.get("metrics") or {})])
    by_set: dict[tuple[Any, Any, int], list[RecordPoint]] = defaultdict(list)
    for point in survey.points:
        data = (point.record.get("config") or {}).get("eval_dataset") or {}
        classes = len(point.record.get("classes") or ())
        by_set[point.axes["eval_dataset"], data.get("fingerprint"), classes].append(point)
    names: dict[str, int] = defaultdict(int)
    sets = []
    for (name, _, _), points in by_set.items():
        names[name] += 1
        own = name if names[name] == 1 else f"{name} ({names[name]})"
        sets.append(_choose_task(own, points, survey))
    return tuple(sets)


def _choose_task(name: str, points: Sequence[RecordPoint], survey: Survey) -> TestSet:
    tasks: dict[tuple[str, float | None], list[RecordPoint]] = defaultdict(list)
    for point in points:
        tasks[point.axes["evaluator"], point.axes["label_frac"]].append(point)

    def rank(task: tuple[str, float | None]) -> tuple[int, bool, float, str]:
        is_calibrated = all("ece" in point.record["metrics"] for point in tasks[task])
        return -len(_group(tasks[task], survey)), not is_calibrated, -(task[1] or 0), task[0]

    evaluator, share = min(tasks, key=rank)
    rows = [Row(name, tuple(found)) for name, found in _group(tasks[evaluator, share], survey).items()]
    rows.sort(key=lambda row: -row.score)
    labels = "" if share is None or share == 1 else f", {format_label('label_frac', share)} of labels"
    return TestSet(name, f"{evaluator}{labels}", tuple(rows[:MOST_ROWS]), len(rows))


def _group(points: Sequence[RecordPoint], survey: Survey) -> dict[str, list[Record]]:
    """Return the records of each row, by its name."""
    axes = [axis for axis in (*ROW_FIELDS[1:], *survey.distinguishing) if survey.varies(axis)]
    varying = [axis for axis in axes if len({point.axes.get(axis) for point in points}) > 1]
    rows: dict[str, list[Record]] = defaultdict(list)
    for point in sorted(points, key=lambda point: point.axes["seed"]):
        values = [(axis, point.axes.get(axis)) for axis in varying]
        told = [
            format_label(axis, value) if axis in ROW_FIELDS else f"{axis}={format_label(axis, value)}"
            for axis, value in values
            if value is not None
        ]
        rows[", ".join([point.axes["method"], *told])].append(point.record)
    return rows

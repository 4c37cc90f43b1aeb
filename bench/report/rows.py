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
# an evaluator, the share of the labels, the shots, and whether one image of each class is kept
Question = tuple[str, float | None, int | None, bool]
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
class Task:
    """How rows were evaluated.

    Args:
        name: of the evaluator and, if it is not all, the share of the labels.
        rows: the best first, no more than are drawn.
        count: how many rows there are in all.
    """

    name: str
    rows: tuple[Row, ...]
    count: int


@dataclass(frozen=True)
class TestSet:
    """What figures show of one test set.

    Args:
        name: of the data set, which it shares with no other.
        task: that is shown.
        calibrated: whose answers have probabilities: another one where `task` has none; none if no task has.
    """

    name: str
    task: Task
    calibrated: Task | None

    @property
    def rows(self) -> tuple[Row, ...]:
        """The rows that are shown."""
        return self.task.rows

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
    by_set: dict[tuple[Any, Any, tuple[str, ...]], list[RecordPoint]] = defaultdict(list)
    for point in survey.points:
        data = (point.record.get("config") or {}).get("eval_dataset") or {}
        classes = tuple(point.record.get("classes") or ())
        by_set[point.axes["eval_dataset"], data.get("fingerprint"), classes].append(point)
    names: dict[str, int] = defaultdict(int)
    sets = []
    for (name, _, _), points in by_set.items():
        names[name] += 1
        own = name if names[name] == 1 else f"{name} ({names[name]})"
        sets.append(_choose_tasks(own, points, survey))
    return tuple(sets)


def _choose_tasks(name: str, points: Sequence[RecordPoint], survey: Survey) -> TestSet:
    by_task: dict[Question, list[RecordPoint]] = defaultdict(list)
    for point in points:
        share, shots = (point.axes.get(axis) for axis in ("label_frac", "shots"))
        by_task[point.axes["evaluator"], share, shots, bool(point.axes.get("keep_one"))].append(point)
    tasks = {task: _group(found, survey) for task, found in by_task.items()}
    calibrated = {
        task: rows
        for task, rows in tasks.items()
        if all("ece" in point.record["metrics"] for point in by_task[task])
    }

    def rank(task: Question) -> tuple[int, bool, float, int, bool, str]:
        evaluator, share, shots, keeps_one = task
        return -len(tasks[task]), task not in calibrated, -(share or 0), -(shots or 0), keeps_one, evaluator

    shown = _make_task(min(tasks, key=rank), tasks)
    return TestSet(name, shown, _make_task(min(calibrated, key=rank), tasks) if calibrated else None)


def _make_task(task: Question, tasks: Mapping[Question, Mapping[str, list[Record]]]) -> Task:
    evaluator, share, shots, keeps_one = task
    rows = [Row(name, tuple(found)) for name, found in tasks[task].items()]
    rows.sort(key=lambda row: -row.score)
    labels = "" if share is None or share == 1 else f", {format_label('label_frac', share)} of labels"
    labels += f", {format_label('keep_one', keeps_one)}" if keeps_one else ""
    labels = labels if shots is None else f", {format_label('shots', shots)}"
    return Task(f"{evaluator}{labels}", tuple(rows[:MOST_ROWS]), len(rows))


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

"""Gather what methods score on several data sets into complete blocks: each method on each data set.

A block is of one question: one evaluator with its settings, one label fraction and one metric. What keeps a
block from being complete is left out, and named.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.errors import UsageError
from bench.reporting.axes import AMOUNTS, survey_records
from bench.reporting.formats.values import format_value
from bench.reporting.headings import format_label, head_column
from bench.reporting.metric_choice import choose_metrics
from bench.reporting.pivot import AxisValues, Layout, Pivot, SeedGroup, lay_out, pivot_records
from bench.reporting.protocols import refuse_mixed

Question = tuple[tuple[str, Any], ...]  # the evaluator, the fraction, settings of the evaluator, the metric


@dataclass(frozen=True)
class Entrant:
    """What is compared: a row of a table.

    Args:
        label: names it among the others.
        method: its method.
        values: its value on each axis that tells rows apart, by the axis's name.
    """

    label: str
    method: str
    values: tuple[tuple[str, Any], ...]

    @property
    def network(self) -> tuple[tuple[str, Any], ...]:
        """What it shares with its references: the backbone."""
        return tuple(pair for pair in self.values if pair[0].partition(".")[0] == "backbone")


@dataclass(frozen=True)
class Block:
    """What entrants score in one question, those of every data set.

    Args:
        question: in words.
        entrants: in the order of the records.
        datasets: in the order of the records.
        runs: the scores of the seeds, by entrant and data set; complete.
        references: as `runs`, of methods that set the scale and are not compared; some may lack.
        higher_is_better: the metric's direction.
        left_out: entrants and data sets that are not in it, and why, a sentence each.
        repeats: some data set is evaluated on several times, after training on others.
    """

    question: str
    entrants: tuple[Entrant, ...]
    datasets: tuple[str, ...]
    runs: Mapping[tuple[Entrant, str], tuple[float, ...]]
    references: Mapping[tuple[Entrant, str], tuple[float, ...]]
    higher_is_better: bool
    left_out: tuple[str, ...]
    repeats: bool = False


def gather_blocks(
    records: Iterable[Mapping[str, Any]],
    *,
    methods: Sequence[str] = (),
    references: Sequence[str] = (),
    metric: str | None = None,
    folder: object = "results",
) -> list[Block]:
    """Return the block of each question that the records answer.

    Args:
        records: as `RecordStore.records` yields them.
        methods: that are compared; none are all but the references.
        references: methods that set the scale.
        metric: none is that of a table: `top1`, or the evaluator's headline.
        folder: where the records are from, for the error.

    Raises:
        UsageError: there are no records, or two protocols meet in what would be compared.
        UnknownName: no record has the metric.
    """
    wanted = {*methods, *references}
    kept = [one for one in records if not methods or one["cell"]["method"] in wanted]
    if not kept:
        raise UsageError(f"no records in {folder}. Run `bench run` first, or choose other methods.")
    choice = choose_metrics(kept, (metric,) if metric else None)
    survey = survey_records(one for one in kept if choice.by_evaluator[one["cell"]["evaluator"]])
    layout = _with_data_across(lay_out(survey, None, None, choice))
    pivot = pivot_records(survey, layout)
    refuse_mixed(pivot)
    entrants = _name_entrants(pivot)
    compared = {row: entrant for row, entrant in entrants.items()
                if (entrant.method in methods if methods else entrant.method not in references)}  # fmt: skip
    scales = {row: entrant for row, entrant in entrants.items() if entrant.method in references}
    blocks = []
    for question, columns in _list_questions(pivot).items():
        words = _describe_question(question)
        groups = {(row, name): pivot.groups.get((row, column)) for row in entrants
                  for name, column in columns.items()}  # fmt: skip
        if all(group is None or group.higher_is_better is None for group in groups.values()):
            continue  # neither more nor less of it is better
        blocks.append(_complete(words, compared, scales, tuple(columns), groups))
    return blocks


def _with_data_across(layout: Layout) -> Layout:
    """Return a layout with what was trained on across, too: a task is then the pair."""
    data = tuple(axis for axis in layout.rows if _is_of_data(axis))
    return replace(
        layout, rows=tuple(axis for axis in layout.rows if axis not in data), cols=(*data, *layout.cols)
    )


def _is_of_data(axis: str) -> bool:
    return axis.partition(".")[0] in ("dataset", "eval_dataset")


def _name_entrants(pivot: Pivot) -> dict[AxisValues, Entrant]:
    """Return what each row is, by the row."""
    axes = pivot.layout.rows
    of_row: dict[AxisValues, SeedGroup] = {}
    for (row, _), group in pivot.groups.items():
        of_row.setdefault(row, group)
    entrants = {}
    for row in pivot.rows:
        method = of_row[row].points[0].axes["method"]
        pairs = tuple((axis, value) for axis, value in zip(axes, row, strict=True) if value is not None)
        words = [_label(axis, value) for axis, value in pairs]
        entrants[row] = Entrant(" ".join(words) or method, method, pairs)
    return entrants


def _label(axis: str, value: Any) -> str:
    return format_value(value) if axis in ("method", "backbone") else f"{axis}={format_value(value)}"


def _list_questions(pivot: Pivot) -> dict[Question, dict[str, AxisValues]]:
    """Return the columns of each question, by what names their data."""
    layout, cols = pivot.layout, pivot.layout.cols
    data = tuple(axis for axis in cols if _is_of_data(axis))
    first: dict[AxisValues, SeedGroup] = {}
    for (_, column), group in pivot.groups.items():
        first.setdefault(column, group)
    questions: dict[Question, dict[str, AxisValues]] = defaultdict(dict)
    for column in pivot.columns:
        values, group = dict(zip(cols, column, strict=True)), first[column]
        axes = group.points[0].axes
        names = ["evaluator", *AMOUNTS, *(axis for axis in cols if axis not in data)]
        question = {name: axes.get(name) for name in names if name != "metric"} | {"metric": group.metric}
        sub = tuple(values[axis] for axis in data)
        name = head_column(replace(layout, cols=data), sub) if data else str(axes["eval_dataset"])
        questions[tuple(question.items())][name] = column
    return questions


def _describe_question(question: Question) -> str:
    words = [
        format_label(axis, value) if axis in ("evaluator", *AMOUNTS, "metric") else _label(axis, value)
        for axis, value in question
        if value is not None
    ]
    return " / ".join(words)


def _complete(
    question: str,
    compared: Mapping[AxisValues, Entrant],
    scales: Mapping[AxisValues, Entrant],
    datasets: tuple[str, ...],
    groups: Mapping[tuple[AxisValues, str], SeedGroup | None],
) -> Block:
    """Return the block of a question without what keeps it from being complete."""
    runs = {(entrant, name): values for row, entrant in compared.items() for name in datasets
            if (values := _read_runs(groups[row, name]))}  # fmt: skip
    references = {(entrant, name): values for row, entrant in scales.items() for name in datasets
                  if (values := _read_runs(groups[row, name]))}  # fmt: skip
    reasons = {(entrant, name): _explain(groups[row, name]) for row, entrant in compared.items()
               for name in datasets}  # fmt: skip
    entrants, names, left_out = _drop_incomplete(list(compared.values()), list(datasets), runs, reasons)
    evaluated = {
        group.points[0].axes["eval_dataset"] for (_, name), group in groups.items() if group and name in names
    }
    directions = {group.higher_is_better for group in groups.values() if group} - {None}
    return Block(
        question=question,
        entrants=tuple(entrants),
        datasets=tuple(names),
        runs={place: values for place, values in runs.items() if place[0] in entrants and place[1] in names},
        references=references,
        higher_is_better=directions != {False},
        left_out=tuple(left_out),
        repeats=len(evaluated) < len(names),
    )


def _read_runs(group: SeedGroup | None) -> tuple[float, ...]:
    """Return the scores of the seeds; none where one failed or is not finite: the others are a selection."""
    if group is None or group.status != "ok" or not all(map(math.isfinite, group.by_seed.values())):
        return ()
    return tuple(group.by_seed.values())


def _explain(group: SeedGroup | None) -> str:
    if group is None:
        return "was not run"
    if group.status == "partial":
        return "a seed failed"
    return group.status if group.status != "ok" else "is not a finite number"


def _drop_incomplete(
    entrants: list[Entrant],
    datasets: list[str],
    runs: Mapping[tuple[Entrant, str], Any],
    reasons: Mapping[tuple[Entrant, str], str],
) -> tuple[list[Entrant], list[str], list[str]]:
    """Drop the entrant or the data set with the largest share of scores missing, until none is."""
    left_out: list[str] = []
    while True:
        of_entrant = {one: [d for d in datasets if (one, d) not in runs] for one in entrants}
        of_dataset = {d: [one for one in entrants if (one, d) not in runs] for d in datasets}
        worst = max(entrants, key=lambda one: len(of_entrant[one]), default=None)
        gap = max(datasets, key=lambda d: len(of_dataset[d]), default=None)
        if worst is None or gap is None or not of_entrant[worst]:
            return entrants, datasets, left_out
        if len(of_entrant[worst]) * len(entrants) >= len(of_dataset[gap]) * len(datasets):
            which = [f"{d} {reasons[worst, d]}" for d in of_entrant[worst]]
            left_out.append(f"{worst.label} is left out: {_shorten(which)}")
            entrants = [one for one in entrants if one != worst]
        else:
            which = [f"{one.label} {reasons[one, gap]}" for one in of_dataset[gap]]
            left_out.append(f"{gap} is left out: {_shorten(which)}")
            datasets = [d for d in datasets if d != gap]


def _shorten(names: Sequence[str], most: int = 3) -> str:
    text = ", ".join(names[:most])
    return f"{text} and {len(names) - most} more" if len(names) > most else text

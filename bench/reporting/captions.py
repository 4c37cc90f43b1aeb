"""Say above a table what all its cells share, and what must be known to read them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bench.reporting.axes import CELL_FIELDS, RecordPoint, Survey
from bench.reporting.best import Marks
from bench.reporting.data_notes import describe_data_notes
from bench.reporting.formats.base import Caption
from bench.reporting.formats.values import format_value
from bench.reporting.headings import ROLES, format_label, label_value
from bench.reporting.metric_choice import GAP, is_in_percent
from bench.reporting.pivot import Layout, Pivot
from bench.reporting.protocols import describe_mixture
from bench.reporting.threads import describe_thread_mixture
from bench.reporting.uncertainty import shows_deviation, shows_interval
from bench.reporting.wording import say_difference, say_values
from bench.statistics.parts import LEVEL
from bench.storage.record_fields import SEEN

MOST_VALUES = 4  # of a setting that a caption lists before it says only that they differ
DIAGONAL = "†"
MANY = 1e4  # from which a number is written without decimals, whatever its digits


def build_caption(
    survey: Survey, pivot: Pivot, marks: Marks, uncertainty: str, *, transposed: bool = False
) -> Caption:
    """Return the caption of a table.

    Args:
        survey: its records.
        pivot: its groups.
        marks: its best cells and the intervals of all.
        uncertainty: what its cells show of theirs.
        transposed: what is a row of the pivot is shown as a column.
    """
    metrics = [_describe_metric(metric, pivot) for metric in pivot.layout.metric_choice.metrics]
    summary = (_describe_seeds(survey, pivot, uncertainty), _describe_bounds(pivot, marks, uncertainty))
    return Caption(
        metrics=join_words(metrics),
        seeds=", ".join(filter(None, summary)),
        common=(*_list_common_cell(survey, pivot.layout), *_list_common_settings(survey, pivot.layout)),
        remarks=(*_list_remarks(survey, pivot, transposed=transposed), *_list_unmarked(pivot, marks)),
        best=_describe_best(marks),
    )


def join_words(words: Sequence[str], last: str = "and") -> str:
    """Return words as one says them: `a, b and c`."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"


def _describe_metric(metric: str, pivot: Pivot) -> str:
    text = pivot.layout.names.of(metric)
    if metric == GAP:
        text += " in percentage points"
    elif is_in_percent(metric):
        text += " in percent"
    if any(group.higher_is_better is False for group in pivot.groups.values() if group.metric == metric):
        text += " (lower is better)"
    return text


def _describe_seeds(survey: Survey, pivot: Pivot, uncertainty: str) -> str:
    if "seed" in (*pivot.layout.rows, *pivot.layout.cols):
        return ""
    seeds = survey.values_on("seed")
    if len(seeds) == 1:
        return f"seed {format_value(seeds[0])}"
    if all(group.n < 2 for group in pivot.groups.values()):
        return "one seed a cell"
    n, text = pivot.common_n, "mean ± std" if shows_deviation(uncertainty) else "mean"
    return f"{text} over seeds (n={n})" if n else f"{text} over seeds"


def _describe_bounds(pivot: Pivot, marks: Marks, uncertainty: str) -> str:
    """Return what the brackets behind the means are; nothing where there are none."""
    shown = {
        bounds.how
        for position, bounds in marks.bounds.items()
        if shows_interval(uncertainty, pivot.groups[position])
    }
    return f"95 % interval in brackets ({join_words(sorted(shown), 'or')})" if shown else ""


def _list_common_cell(survey: Survey, layout: Layout) -> Iterator[str]:
    """Yield which method, backbone, data set and so on all cells share."""
    for axis in CELL_FIELDS:
        values = [value for value in survey.values_on(axis) if value is not None]
        if axis in (*layout.rows, *layout.cols) or survey.varies(axis) or not values:
            continue
        if axis in ROLES and layout.has_transfer:
            yield f"{ROLES[axis]} {label_value(layout, axis, values[0])}"
        elif axis != "eval_dataset":
            yield say_values(axis, [label_value(layout, axis, values[0])])


def _list_common_settings(survey: Survey, layout: Layout) -> Iterator[str]:
    """Yield each setting that was set and is no axis; it may vary, if it follows from an axis."""
    for name in dict.fromkeys((*survey.explicit, "train.epochs")):
        values = [label_value(layout, name, value) for value in survey.values_on(name) if value is not None]
        if name in (*layout.rows, *layout.cols) or not values:
            continue
        yield say_values(name, values) if len(values) <= MOST_VALUES else say_difference(name)


def _list_remarks(survey: Survey, pivot: Pivot, *, transposed: bool) -> Iterator[str]:
    if survey.ambiguous_count:
        yield (
            f"{survey.ambiguous_count} records differ from another of their seed in nothing that is named "
            "(older data, another version): they are told apart by key and not averaged"
        )
    yield from _list_missing_metrics(pivot)
    layout = pivot.layout
    shown = replace(layout, rows=layout.cols, cols=layout.rows) if transposed else layout
    yield from _list_supervision(survey, shown)
    mixture = describe_mixture(pivot)
    if mixture:
        yield mixture[0].upper() + mixture[1:]
    threads = describe_thread_mixture(point.record for point in survey.points)
    if threads:
        yield threads
    yield from describe_data_notes(point.record for point in survey.points)
    if any(group.on_diagonal and group.by_seed for group in pivot.groups.values()):
        yield f"{DIAGONAL}: trained and evaluated on the same data set"


def _list_unmarked(pivot: Pivot, marks: Marks) -> Iterator[str]:
    """Yield why cells are not marked as the best, where one might expect it."""
    values = [group for group in pivot.groups.values() if group.by_seed]
    undirected = dict.fromkeys(group.metric for group in values if group.higher_is_better is None)
    if undirected:
        yield f"Neither more nor less is better of {join_words(list(map(pivot.layout.names.of, undirected)))}"
    if marks.one_seed_a_cell:
        yield "Each cell is one seed, so that none is marked"
    if marks.untested:
        yield f"Not marked where a cell has no test against the best: {_describe_untested(pivot, marks)}"
    if marks.unmarked and not marks.best:
        yield f"No difference from the best is significant ({_describe_tests(marks)})"
    elif marks.unmarked:
        yield (
            f"Nothing is marked in {marks.unmarked} of {marks.tested} tasks, "
            "in which no difference from the best is significant"
        )


def _describe_untested(pivot: Pivot, marks: Marks) -> str:
    """Return the metrics of tasks without all their tests, those of one reason together."""
    metrics_by_reason: dict[str, list[str]] = defaultdict(list)
    for metric, reasons in marks.untested.items():
        metrics_by_reason[join_words(list(reasons), "or")].append(pivot.layout.names.of(metric))
    return "; ".join(f"{join_words(metrics)} ({why})" for why, metrics in metrics_by_reason.items())


def _describe_best(marks: Marks) -> str:
    if not marks.best:
        return ""
    return f"is best or not significantly worse, where others are ({_describe_tests(marks)})"


def _describe_tests(marks: Marks) -> str:
    return f"{join_words(sorted(marks.tests))}; Holm, level {LEVEL:g}"


def _list_missing_metrics(pivot: Pivot) -> Iterator[str]:
    """Yield which evaluators lack some of the metrics that were asked for."""
    evaluators_by_missing: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for evaluator, metrics in pivot.layout.metric_choice.missing_metrics().items():
        evaluators_by_missing[tuple(metrics)].append(evaluator)
    names = pivot.layout.names
    for missing, evaluators in evaluators_by_missing.items():
        verb = "has" if len(evaluators) == 1 else "have"
        lacking, lacked = ([names.of(name) for name in group] for group in (evaluators, missing))
        yield f"{join_words(lacking)} {verb} no {join_words(lacked, 'or')}"


def _list_supervision(survey: Survey, layout: Layout) -> Iterator[str]:
    """Yield which methods saw how many of the training labels, how often, and what was chosen on them."""
    points = [point for point in survey.points if _protocol_of(point).get("training_labels")]
    if not points:
        return
    methods = list(dict.fromkeys(label_value(layout, "method", point.axes["method"]) for point in points))
    protocols = [_protocol_of(point) for point in points]
    yield (
        f"{' and '.join(methods)} {'is' if len(methods) == 1 else 'are'} trained with "
        f"{_describe_labels(points, survey, layout)}{_describe_passes(protocols)}"
    )
    if any(str(protocol.get("selected_on", "")).endswith(SEEN) for protocol in protocols):
        names = " and ".join(methods)
        yield f"Readouts of {names} have their defaults: nothing can be chosen on labels that a backbone saw"


def _protocol_of(point: RecordPoint) -> Mapping[str, Any]:
    return point.record.get("protocol") or {}


def _describe_labels(points: Sequence[RecordPoint], survey: Survey, layout: Layout) -> str:
    """Return which labels methods were trained with: all, those that their cells name, or some."""
    shares = [(_protocol_of(point)["training_labels"], point.axes["label_frac"]) for point in points]
    if any(point.axes.get("shots") is not None for point in points):
        return "the labels that are named with them"
    if all(seen == 1 for seen, _ in shares):
        return "all labels"
    if all(seen == (1 if fraction is None else fraction) for seen, fraction in shares):
        text = _describe_share(survey, layout)
        return f"{text}, all where there is none" if None in {fraction for _, fraction in shares} else text
    return "labels"


def _describe_passes(protocols: Sequence[Mapping[str, Any]]) -> str:
    """Return how many images had these labels and how often each was seen; nothing in older records."""
    names = ("training_images", "training_passes")
    known = [[protocol[name] for name in names] for protocol in protocols if set(names) <= protocol.keys()]
    if not known:
        return ""
    images, passes = (_describe_range(values) for values in zip(*known, strict=True))
    return f" ({images} images, each seen {passes} times)"


def _describe_range(values: Sequence[float]) -> str:
    """Return the least and the largest of some values, or the one that they are."""
    ends = (f"{end:,.4g}" if end < MANY else f"{end:,.0f}" for end in (min(values), max(values)))
    return " to ".join(dict.fromkeys(ends))


def _describe_share(survey: Survey, layout: Layout) -> str:
    for axes, line in ((layout.rows, "row"), (layout.cols, "column")):
        if "label_frac" in axes:
            return f"the share of the labels that is named in the {line}"
    return f"{format_label('label_frac', survey.values_on('label_frac')[-1])} of the labels"

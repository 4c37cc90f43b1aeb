"""Say above a table what all its cells share, and what must be known to read them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from bench.reporting.axes import CELL_FIELDS, Survey
from bench.reporting.formats.base import Caption
from bench.reporting.formats.values import format_value
from bench.reporting.headings import ROLES, format_label
from bench.reporting.metric_choice import GAP, is_in_percent
from bench.reporting.pivot import Layout, Pivot
from bench.reporting.protocols import describe_mixture
from bench.reporting.threads import describe_thread_mixture

MOST_VALUES = 4  # of a setting that a caption lists before it says only that they differ
DIAGONAL = "†"


def build_caption(survey: Survey, pivot: Pivot) -> Caption:
    """Return the caption of a table."""
    metrics = [_describe_metric(metric, pivot) for metric in pivot.layout.metric_choice.metrics]
    return Caption(
        metrics=join_words(metrics),
        seeds=_describe_seeds(survey, pivot),
        common=(*_list_common_cell(survey, pivot.layout), *_list_common_settings(survey, pivot.layout)),
        remarks=tuple(_list_remarks(survey, pivot)),
    )


def join_words(words: Sequence[str], last: str = "and") -> str:
    """Return words as one says them: `a, b and c`."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"


def _describe_metric(metric: str, pivot: Pivot) -> str:
    text = metric
    if metric == GAP:
        text += " in percentage points"
    elif is_in_percent(metric):
        text += " in percent"
    if not all(group.higher_is_better for group in pivot.groups.values() if group.metric == metric):
        text += " (lower is better)"
    return text


def _describe_seeds(survey: Survey, pivot: Pivot) -> str:
    if "seed" in (*pivot.layout.rows, *pivot.layout.cols):
        return ""
    seeds = survey.values_on("seed")
    if len(seeds) == 1:
        return f"seed {format_value(seeds[0])}"
    if all(group.n < 2 for group in pivot.groups.values()):
        return "one seed a cell"
    n = pivot.common_n
    return f"mean ± std over seeds (n={n})" if n else "mean ± std over seeds"


def _list_common_cell(survey: Survey, layout: Layout) -> Iterator[str]:
    """Yield which method, backbone, data set and so on all cells share."""
    for axis in CELL_FIELDS:
        values = [value for value in survey.values_on(axis) if value is not None]
        if axis in (*layout.rows, *layout.cols) or survey.varies(axis) or not values:
            continue
        if axis in ROLES and layout.has_transfer:
            yield f"{ROLES[axis]} {values[0]}"
        elif axis != "eval_dataset":
            yield f"{axis} {format_label(axis, values[0])}"


def _list_common_settings(survey: Survey, layout: Layout) -> Iterator[str]:
    """Yield each setting that was set and is no axis; it may vary, if it follows from an axis."""
    for name in dict.fromkeys((*survey.explicit, "train.epochs")):
        values = [format_value(value) for value in survey.values_on(name) if value is not None]
        if name in (*layout.rows, *layout.cols) or not values:
            continue
        yield f"{name} {' or '.join(values)}" if len(values) <= MOST_VALUES else f"{name} differs"


def _list_remarks(survey: Survey, pivot: Pivot) -> Iterator[str]:
    if survey.ambiguous_count:
        yield (
            f"{survey.ambiguous_count} records differ from another of their seed in nothing that is named "
            "(older data, another version): they are told apart by key and not averaged"
        )
    yield from _list_missing_metrics(pivot)
    yield from _list_supervision(survey, pivot.layout)
    mixture = describe_mixture(pivot)
    if mixture:
        yield mixture[0].upper() + mixture[1:]
    threads = describe_thread_mixture(point.record for point in survey.points)
    if threads:
        yield threads
    if any(group.on_diagonal and group.by_seed for group in pivot.groups.values()):
        yield f"{DIAGONAL}: trained and evaluated on the same data set"


def _list_missing_metrics(pivot: Pivot) -> Iterator[str]:
    """Yield which evaluators lack some of the metrics that were asked for."""
    evaluators_by_missing: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for evaluator, metrics in pivot.layout.metric_choice.missing_metrics().items():
        evaluators_by_missing[tuple(metrics)].append(evaluator)
    for missing, evaluators in evaluators_by_missing.items():
        verb = "has" if len(evaluators) == 1 else "have"
        yield f"{join_words(evaluators)} {verb} no {join_words(missing, 'or')}"


def _list_supervision(survey: Survey, layout: Layout) -> Iterator[str]:
    """Yield which methods saw how many of the training labels, if any method did."""
    methods: dict[str, None] = {}
    shares = []  # of the labels: those a method was trained with, those its cell names
    for point in survey.points:
        seen = (point.record.get("protocol") or {}).get("training_labels")
        if seen:
            methods[point.axes["method"]] = None
            shares.append((seen, point.axes["label_frac"]))
    if not shares:
        return
    start = f"{' and '.join(methods)} {'is' if len(methods) == 1 else 'are'} trained with"
    if all(seen == 1 for seen, _ in shares):
        yield f"{start} all labels"
    elif all(seen == (1 if fraction is None else fraction) for seen, fraction in shares):
        text = f"{start} {_describe_share(survey, layout)}"
        yield f"{text}, all where there is none" if None in {fraction for _, fraction in shares} else text
    else:
        yield f"{start} labels"


def _describe_share(survey: Survey, layout: Layout) -> str:
    for axes, line in ((layout.rows, "row"), (layout.cols, "column")):
        if "label_frac" in axes:
            return f"the share of the labels that is named in the {line}"
    return f"{format_label('label_frac', survey.values_on('label_frac')[-1])} of the labels"

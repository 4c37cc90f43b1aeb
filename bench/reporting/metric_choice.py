"""Choose which metrics to show of each evaluator: those that are asked for, or its own headline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.errors import UnknownName, suggest
from bench.storage.record_fields import PASSES

USUAL_METRIC = "top1"
GAP = "nonlinear_gap"  # a difference of two accuracies
PERCENT_DECIMALS, OTHER_DECIMALS = 2, 4

COSTS = {  # by the name they are asked for: where a record's cost has them
    **{name: ("passes", "run", part) for name, part in PASSES.items()},
    "images_per_s": ("images_per_s",),
    "params": ("params",),
    "flops": ("flops",),
    "seconds_pretrain": ("seconds", "pretrain"),
}

MetricsByEvaluator = dict[str, set[str]]


def metric_of(record: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    """Return a metric of a record, or what its cost has under that name; none if it has neither."""
    own: Mapping[str, Any] | None = (record.get("metrics") or {}).get(name)
    if own is not None or name not in COSTS:
        return own
    value: Any = record.get("cost")
    for part in COSTS[name]:
        value = value.get(part) if isinstance(value, Mapping) else None
    return None if value is None else {"value": value, "higher_is_better": None}


@dataclass(frozen=True)
class MetricChoice:
    """What a table shows of each evaluator.

    Args:
        metrics: all of them, in the order of the table.
        by_evaluator: those of each evaluator; empty where it has none of what is asked for.
        headlines: no metric was asked for, and each evaluator shows its own.
    """

    metrics: tuple[str, ...]
    by_evaluator: Mapping[str, tuple[str, ...]]
    headlines: bool

    def missing_metrics(self) -> dict[str, list[str]]:
        """Return the metrics that were asked for and that an evaluator lacks, if it lacks some."""
        if self.headlines:
            return {}
        missing = {
            evaluator: [metric for metric in self.metrics if metric not in available]
            for evaluator, available in self.by_evaluator.items()
        }
        return {evaluator: metrics for evaluator, metrics in missing.items() if metrics}


def choose_metrics(records: Sequence[Mapping[str, Any]], names: tuple[str, ...] | None) -> MetricChoice:
    """Choose what to show of each evaluator.

    An evaluator of which every cell failed shows all that is asked for, so that its failures are seen.

    Args:
        records: at least one.
        names: the metrics asked for, or of `COSTS`; none is `top1` of each evaluator that has it, and the
            headline of others.

    Raises:
        UnknownName: no record has a metric that is asked for.
    """
    available: MetricsByEvaluator = {}
    for record in records:
        found = available.setdefault(record["cell"]["evaluator"], set())
        found.update(record.get("metrics") or {})
        found.update(name for name in names or () if name in COSTS and metric_of(record, name) is not None)
    return _choose_headlines(records, available) if names is None else _choose_named(names, available)


def decimals_of(metric: str) -> int:
    """Return how many decimals a metric is shown with."""
    if metric in COSTS:
        return 0
    return PERCENT_DECIMALS if is_in_percent(metric) else OTHER_DECIMALS


def is_in_percent(metric: str) -> bool:
    """Tell by its name whether a metric is in percent: an accuracy, or a difference of two."""
    if metric in ("ece", GAP):
        return True
    return metric.startswith("top") or any(word in metric for word in ("acc", "recall", "precision", "f1"))


def _choose_headlines(records: Iterable[Mapping[str, Any]], available: MetricsByEvaluator) -> MetricChoice:
    recorded: dict[str, str] = {}
    for record in records:
        evaluator, headline = record["cell"]["evaluator"], record.get("headline")
        if headline in available[evaluator]:
            recorded.setdefault(evaluator, headline)
    chosen = {
        evaluator: USUAL_METRIC if USUAL_METRIC in names else recorded.get(evaluator, min(names))
        for evaluator, names in available.items()
        if names
    }
    metrics = sorted(dict.fromkeys(chosen.values()), key=lambda metric: metric != USUAL_METRIC)
    fallback = metrics[0] if metrics else USUAL_METRIC  # of an evaluator of which every cell failed
    by_evaluator = {evaluator: (chosen.get(evaluator, fallback),) for evaluator in available}
    return MetricChoice(tuple(metrics) or (fallback,), by_evaluator, headlines=True)


def _choose_named(names: tuple[str, ...], available: MetricsByEvaluator) -> MetricChoice:
    known = set().union(*available.values())
    for name in names:
        if known and name not in known:  # where every cell failed, any metric shows the failures
            raise UnknownName(f"--metric: no record has a metric {name!r}.{suggest(name, {*known, *COSTS})}")
    by_evaluator = {
        evaluator: tuple(name for name in names if name in metrics or not metrics)
        for evaluator, metrics in available.items()
    }
    return MetricChoice(names, by_evaluator, headlines=False)

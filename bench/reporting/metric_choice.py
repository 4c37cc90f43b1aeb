"""Which metric tells of an evaluator: those that are asked for, or its own headline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.errors import UnknownName, suggest

USUAL_METRIC = "top1"
GAP = "nonlinear_gap"  # a difference of two accuracies
PERCENT_DECIMALS, OTHER_DECIMALS = 2, 4

Metrics = dict[str, set[str]]  # those of each evaluator, by its name


@dataclass(frozen=True)
class MetricChoice:
    """What a table shows of each evaluator.

    Args:
        metrics: all of them, in the order of the table.
        by_evaluator: those of each evaluator; empty where it has none of what is asked for.
        headlines: nothing was asked for, and each evaluator shows its own.
    """

    metrics: tuple[str, ...]
    by_evaluator: Mapping[str, tuple[str, ...]]
    headlines: bool

    def lacking(self) -> dict[str, list[str]]:
        """Return the metrics that were asked for and that an evaluator lacks, if it lacks some."""
        if self.headlines:
            return {}
        lacking = {
            evaluator: [metric for metric in self.metrics if metric not in there]
            for evaluator, there in self.by_evaluator.items()
        }
        return {evaluator: metrics for evaluator, metrics in lacking.items() if metrics}


def choose_metrics(records: Sequence[Mapping[str, Any]], asked: tuple[str, ...] | None) -> MetricChoice:
    """Return what to show of each evaluator.

    An evaluator of which every cell failed shows all that is asked for, so that its failures do.

    Args:
        records: of which at least one.
        asked: metrics; none is `top1` of each evaluator that has it, and the headline of others.

    Raises:
        UnknownName: no record has a metric that is asked for.
    """
    there: Metrics = {}
    for record in records:
        there.setdefault(record["cell"]["evaluator"], set()).update(record.get("metrics") or {})
    return _headlines(records, there) if asked is None else _asked(asked, there)


def decimals(metric: str) -> int:
    """Return how many decimals a metric is shown with."""
    return PERCENT_DECIMALS if in_percent(metric) else OTHER_DECIMALS


def in_percent(metric: str) -> bool:
    """Tell by its name what evaluators give in percent: an accuracy, or a difference of two."""
    if metric in ("ece", GAP):
        return True
    return metric.startswith("top") or any(word in metric for word in ("acc", "recall", "precision", "f1"))


def _headlines(records: Iterable[Mapping[str, Any]], there: Metrics) -> MetricChoice:
    told: dict[str, str] = {}
    for record in records:
        evaluator, headline = record["cell"]["evaluator"], record.get("headline")
        if headline in there[evaluator]:
            told.setdefault(evaluator, headline)
    found = {
        evaluator: USUAL_METRIC if USUAL_METRIC in names else told.get(evaluator, min(names))
        for evaluator, names in there.items()
        if names
    }
    metrics = sorted(dict.fromkeys(found.values()), key=lambda metric: metric != USUAL_METRIC)
    first = metrics[0] if metrics else USUAL_METRIC  # also of an evaluator of which nothing is known
    shown = {evaluator: (found.get(evaluator, first),) for evaluator in there}
    return MetricChoice(tuple(metrics) or (first,), shown, headlines=True)


def _asked(asked: tuple[str, ...], there: Metrics) -> MetricChoice:
    known = set().union(*there.values())
    for metric in asked:
        if known and metric not in known:  # where every cell failed, any metric shows that
            raise UnknownName(f"--metric: no record has a metric {metric!r}.{suggest(metric, known)}")
    shown = {
        evaluator: tuple(metric for metric in asked if metric in names or not names)
        for evaluator, names in there.items()
    }
    return MetricChoice(asked, shown, headlines=False)

"""Fit a classifier on ever more of the labels: a curve, its spread over draws and its area.

Code followed: none. Draws are nested and stratified, as the subsets of SimCLR are,
https://arxiv.org/abs/2002.05709, appendix B.5. The number of draws is our choice.

    top1_area = integral of mean top-1 d log10(fraction) / log10(largest / smallest fraction)

The integral is the trapezoid rule's, so the area is in percent. It compares backbones over the same
fractions only.

Differs from the paper: the backbone is frozen; several draws, not one.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from bench.api import (
    BadValue,
    Evaluator,
    FeatureSettings,
    FeatureSpec,
    Scores,
    Task,
    Unsupported,
    refuse_too_few,
    seed_of,
    setting,
)

from .knn import KNN
from .linear import Linear
from .mlp import MLP

# By name, since a plugin cannot look one up: any that scores features by top1. Both lines are all it takes.
NAMES = ("linear", "knn", "mlp")
PROBES: dict[str, type[Evaluator]] = dict(zip(NAMES, (Linear, KNN, MLP), strict=True))


class LabelFraction(Evaluator):
    """Top-1 of a classifier by the share of the labels that it is given."""

    version: ClassVar[int] = 3
    reference: ClassVar[str] = "subsets: SimCLR, https://arxiv.org/abs/2002.05709, appendix B.5"
    takes_fraction: ClassVar[bool] = False
    draws_subsets: ClassVar[bool] = True

    @dataclass(frozen=True, kw_only=True)
    class Config(FeatureSettings):
        """What changes the curve."""

        fractions: tuple[float, ...] = setting(
            (0.001, 0.01, 0.1, 1.0), "shares of each class's labels, ascending", above=0, most=1
        )
        draws: tuple[int, ...] = setting((5, 5, 3, 1), "subsets drawn of each fraction", least=1)
        probe: str = setting("linear", "the evaluator that is fitted, by its defaults", choices=NAMES)

    config: Config

    @classmethod
    def features(cls, config: Config) -> FeatureSpec:
        """Return the features that the settings ask for."""
        return config.spec

    @classmethod
    def uses(cls, config: Config) -> dict[str, Evaluator]:
        """Return the probe, which reads the features of the task."""
        probe = PROBES[config.probe]
        return {config.probe: probe(probe.Config(blocks=config.blocks, pool=config.pool))}

    def check(self, labelled: int, classes: int) -> None:
        """Refuse fractions that make no curve, and draws that do not go with them."""
        fractions, draws = self.config.fractions, self.config.draws
        if not fractions:
            raise BadValue("label-fraction: fractions is empty. Give label-fraction.fractions a value.")
        if list(fractions) != sorted(set(fractions)):
            raise BadValue(f"label-fraction: fractions is {list(fractions)}. Give each once, ascending.")
        if len(draws) != len(fractions):
            raise BadValue(
                f"label-fraction: draws has {len(draws)} numbers, but there are {len(fractions)} fractions. "
                "Give label-fraction.draws one for each."
            )
        if fractions[-1] == 1 and draws[-1] != 1:
            raise BadValue(
                f"label-fraction: draws asks for {draws[-1]} of fraction 1, which are all alike. "
                "Set the last of label-fraction.draws to 1."
            )
        refuse_too_few("label-fraction", labelled, classes)

    def evaluate(self, task: Task) -> Scores:
        """Fit every draw of every fraction that gives each class an example."""
        self.check(len(task.train), len(task.classes))
        curve: dict[float, list[Scores]] = {}
        labels: list[int] = []
        left_out = []
        for fraction, draws in zip(self.config.fractions, self.config.draws, strict=True):
            seeds = [seed_of(task.seed, "label-fraction", draw) for draw in range(draws)]
            sizes = _count_labels(task, fraction, seeds)
            if sizes:
                curve[fraction] = self._fit(task, fraction, seeds)
                labels.append(sizes[0])
            else:
                left_out.append(fraction)
        if not curve:
            raise BadValue(
                f"label-fraction: each of {', '.join(f'{f:g}' for f in left_out)} leaves a class without an "
                "example. Raise label-fraction.fractions."
            )
        most = curve[max(curve)][0]
        metrics = _metrics({f: [s.metrics["top1"] for s in scores] for f, scores in curve.items()})
        return Scores(
            metrics=metrics,
            predictions=most.predictions,
            confidence=most.confidence,
            per_class=most.per_class,
            protocol={**self._protocol(curve), "labels": labels, "left_out": left_out},
            neither_is_better=frozenset(name for name in metrics if name.endswith("_std")),
        )

    def _fit(self, task: Task, fraction: float, seeds: Sequence[int]) -> list[Scores]:
        """Return what the probe finds of each draw of a fraction."""
        (probe,) = self.uses(self.config).values()
        # one by one: what is fitted beside a draw must not change where it ends, and each is a copy
        return [probe.evaluate(task.subset(fraction, seed)) for seed in seeds]

    def _protocol(self, curve: dict[float, list[Scores]]) -> dict[str, Any]:
        """Return what a record says of the subsets and of the choices made in them."""
        every = [scores.protocol for draws in curve.values() for scores in draws]
        selected_on = dict.fromkeys(p["selected_on"] for p in every if "selected_on" in p)
        selected = next((p["selected"] for p in every if p["selected"] != "nothing"), "nothing")
        return {
            "features": "frozen",
            **self.config.spec.describe(),
            "selected": selected if selected == "nothing" else f"{selected} in every subset",
            "selected_on": f"inside each subset: {', '.join(selected_on)}" if selected_on else "nothing",
            "selected_split": every[-1]["selected_split"],
            "classifier": self.config.probe,
            "fractions": list(curve),
            "draws": [len(draws) for draws in curve.values()],
        }


def area(fractions: Sequence[float], values: Sequence[float]) -> float:
    """Return the mean height of a curve over log10(fraction), by the trapezoid rule.

    Args:
        fractions: ascending, above 0; of a single one the area is its value.
        values: one a fraction.
    """
    if len(fractions) == 1:
        return values[0]
    at = [math.log10(fraction) for fraction in fractions]
    parts = zip(at, at[1:], values, values[1:], strict=False)  # pairs: one fewer than points
    return sum((right - left) * (a + b) / 2 for left, right, a, b in parts) / (at[-1] - at[0])


def _metrics(top1: dict[float, list[float]]) -> dict[str, float]:
    """Return the area, and the mean and the sample deviation at each fraction, in percent."""
    means = {fraction: statistics.fmean(values) for fraction, values in top1.items()}
    metrics = {"top1_area": area(list(means), list(means.values()))}
    for fraction, values in top1.items():
        name = f"top1_at_{100 * fraction:g}"
        metrics[name] = means[fraction]
        if len(values) > 1:
            metrics[f"{name}_std"] = statistics.stdev(values)
    return metrics


def _count_labels(task: Task, fraction: float, seeds: Sequence[int]) -> list[int]:
    """Return how many labels each draw of a fraction has; none where one leaves a class without any."""
    try:
        return [len(task.draw_rows(fraction, seed)) for seed in seeds]
    except Unsupported:
        return []

"""Find the trainings behind records and what they logged; those that differ in their seed alone are one."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.bounds import is_number
from bench.report.results import Results
from bench.report.styles import LABELLED
from bench.reporting.axes import TRAINED_FIELDS, RecordPoint, Survey, is_of_training, survey_records
from bench.reporting.headings import format_label
from bench.storage.epochs import Epoch

KEY_DIGITS = 8
Point = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Training:
    """Trainings that differ in their seed alone.

    Args:
        method: its name.
        facet: the network and the data it is trained on.
        name: the method, and what else differs of trainings in one facet.
        runs: the key of the backbone, by seed.
    """

    method: str
    facet: str
    name: str
    runs: Mapping[Any, str]


@dataclass(frozen=True, eq=False)
class Curve:
    """What trainings logged under one name, by seed.

    Args:
        training: whose it is.
        singles: epoch and value, by seed; finite.
    """

    training: Training
    singles: Mapping[Any, Sequence[Point]]

    def mean(self) -> list[tuple[float, float, float]]:
        """Return epoch, mean and sample standard deviation where every seed has a value; 0 of one seed."""
        values = [dict(points) for points in self.singles.values()]
        shared = sorted(set.intersection(*(set(one) for one in values)))
        return [(epoch, *_summarise([one[epoch] for one in values])) for epoch in shared]


def list_trainings(results: Results, roles: Mapping[str, str]) -> list[Training]:
    """Return all trainings of some records, in their order.

    Args:
        results: what the report is of.
        roles: of methods.
    """
    survey = survey_records(results.records)
    settings = [name for name in survey.distinguishing if is_of_training(name)]
    fields = [axis for axis in TRAINED_FIELDS if axis != "method" and survey.varies(axis)]
    runs: dict[tuple[str, str, str], dict[Any, dict[str, None]]] = defaultdict(lambda: defaultdict(dict))
    for point in _list_trained(survey):
        facet = " / ".join(format_label(axis, point.axes[axis]) for axis in fields)
        method = point.axes["method"]
        name = _name(point, settings, is_labelled=roles.get(method) == LABELLED)
        runs[method, facet, name][point.axes["seed"]][point.record["keys"]["backbone"]] = None
    return [
        training
        for (method, facet, name), seeds in runs.items()
        for training in _split(method, facet, name, seeds)
    ]


def read_curves(results: Results, trainings: Sequence[Training]) -> tuple[dict[str, list[Curve]], int, int]:
    """Return what trainings logged, by the name of what was measured, and how many runs of how many did.

    The order is that of their lines; what was measured by all comes with its first.
    """
    curves: dict[str, list[Curve]] = defaultdict(list)
    found = total = 0
    for training in trainings:
        logs = {seed: results.read_epochs(key) for seed, key in training.runs.items()}
        total += len(logs)
        found += sum(1 for log in logs.values() if log)
        for name in dict.fromkeys(name for log in logs.values() for epoch in log for name in epoch):
            singles = {seed: points for seed, log in logs.items() if (points := _points_of(log, name))}
            if singles:
                curves[name].append(Curve(training, singles))
    return curves, found, total


def _list_trained(survey: Survey) -> Iterator[RecordPoint]:
    """Yield the records that have a network which was trained."""
    for point in survey.points:
        training = (point.record.get("config") or {}).get("training") or {}
        if "epochs" in training and point.record["keys"].get("backbone"):
            yield point


def _name(point: RecordPoint, settings: Sequence[str], *, is_labelled: bool) -> str:
    parts = [point.axes["method"]]
    parts += [f"{s}={format_label(s, value)}" for s in settings if (value := point.axes.get(s)) is not None]
    share = (point.record.get("protocol") or {}).get("training_labels")
    if is_labelled and share and share < 1:
        parts.append(f"{format_label('label_frac', share)} of the labels")
    return " / ".join(parts)


def _split(method: str, facet: str, name: str, seeds: Mapping[Any, Mapping[str, None]]) -> Iterator[Training]:
    """Yield a training; of one seed with several networks, which no setting tells apart, each by its key."""
    if all(len(keys) == 1 for keys in seeds.values()):
        yield Training(method, facet, name, {seed: next(iter(keys)) for seed, keys in seeds.items()})
        return
    for seed, keys in seeds.items():
        for key in keys:
            yield Training(method, facet, f"{name} / {key[:KEY_DIGITS]}", {seed: key})


def _points_of(log: Sequence[Epoch], name: str) -> list[Point]:
    return [(epoch["epoch"], float(epoch[name])) for epoch in log if is_number(epoch.get(name))]


def _summarise(values: Sequence[float]) -> tuple[float, float]:
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return mean, 0.0
    return mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))

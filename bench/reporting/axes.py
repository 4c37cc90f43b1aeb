"""What sets records apart: each record's place on every axis, and the settings that must be one.

Nothing but seeds is ever averaged, so whatever else differs between records of one table cell has
to become an axis. What follows from an axis that is there (a recipe from its method, a scaled
learning rate from the batch size) does not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.storage.record_fields import flatten, natural, settings_of

CELL = ("method", "backbone", "dataset", "eval_dataset", "evaluator", "label_frac")
TRAINED = ("method", "backbone", "dataset")  # what a training may depend on
TRAINING_PARTS = ("method.", "backbone.", "dataset.", "train.", "views.")
RESOLVED = "resolved "  # before the name of a setting whose resolved value is another than was set
KEY_DIGITS = 8
NULL = "null"  # as YAML has it: none is a setting that is not there
MISSING = object()


@dataclass(frozen=True)
class RecordPoint:
    """One record and its place on every axis, by the axis's name."""

    at: Mapping[str, Any]
    record: Mapping[str, Any]

    @property
    def crosses(self) -> bool:
        """Tell whether it is evaluated on another data set than it was trained on."""
        return bool(self.at["dataset"] != self.at["eval_dataset"])

    @property
    def returns(self) -> bool:
        """Tell whether it is evaluated on the data set it was trained on, if it was trained."""
        training = (self.record.get("config") or {}).get("training") or {}
        return not self.crosses and "epochs" in training


@dataclass(frozen=True)
class Survey:
    """All records of a table.

    Args:
        points: the records, in the order they were given.
        telling: the settings without which records that differ would share a table cell.
        named: the settings that were set explicitly for at least one record.
        ambiguous: how many records only their keys tell apart; these have the axis `key`.
    """

    points: tuple[RecordPoint, ...]
    telling: tuple[str, ...]
    named: tuple[str, ...]
    ambiguous: int

    def names(self) -> set[str]:
        """Return the axes there are."""
        every = {*CELL, "seed", "metric", *(name for point in self.points for name in point.at)}
        return {name for name in every if not name.startswith(RESOLVED) or name in self.telling}

    def axis(self, name: str) -> str:
        """Return the axis that a name means: a setting by its plugin's name is one by the plugin's role."""
        roles = (role_of(name, point.record["cell"]) for point in self.points)
        return next((role for role in roles if role != name and role in self.names()), name)

    def values(self, axis: str) -> list[Any]:
        """Return the values on `axis`: numbers ascend, names stay in the order of the records."""
        found = list(dict.fromkeys(point.at.get(axis) for point in self.points))
        there = [value for value in found if value is not None]
        if axis not in CELL or axis == "label_frac":
            there = sorted(there, key=_rank)
        return [None] * (len(found) > len(there)) + there

    def varies(self, axis: str) -> bool:
        """Tell whether `axis` has more than one value.

        That some evaluators take no label fraction does not make it vary among those that do.
        """
        values = {point.at.get(axis) for point in self.points}
        if axis != "label_frac" or None not in values:
            return len(values) > 1
        by_evaluator = {(point.at["evaluator"], point.at[axis]) for point in self.points}
        return len(values) > 2 or len(by_evaluator) > len({evaluator for evaluator, _ in by_evaluator})

    @property
    def crossed(self) -> bool:
        """Tell whether any record is evaluated on another data set than it was trained on."""
        return any(point.crosses for point in self.points)


def survey_records(records: Iterable[Mapping[str, Any]]) -> Survey:
    """Place all records and find which settings tell them apart."""
    records = list(records)
    sets = [_by_role(record) for record in records]
    named = tuple(sorted({name for settings in sets for name in settings}))
    points = [
        RecordPoint(at, record) for at, record in zip(_places(records, sets, named), records, strict=True)
    ]
    telling = _telling(points, named)
    doubled = _doubled(points, (*CELL, *telling))
    if doubled:
        points = [_with_key(point) if place in doubled else point for place, point in enumerate(points)]
        telling = (*telling, "key")
    return Survey(tuple(points), telling, named, len(doubled))


def role_of(name: str, cell: Mapping[str, Any]) -> str:
    """Return a setting's name by its part's role: of a cell of simclr, `simclr.x` is `method.x`."""
    part, _, field = name.partition(".")
    role = next((role for role in (*TRAINED, "eval_dataset") if cell.get(role) == part), part)
    return f"{role}.{field}" if field else name


def _by_role(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record's settings by role; what is set by a plugin's name goes before."""
    settings, cell = settings_of(record), record["cell"]
    named = {name: role_of(name, cell) for name in settings if role_of(name, cell) != name}
    by_role = {name: value for name, value in settings.items() if name not in named}
    return {**by_role, **{role: settings[name] for name, role in named.items()}}


def is_of_training(name: str) -> bool:
    """Tell whether `name` is a setting of the training, so that it cannot depend on an evaluator."""
    return name.removeprefix(RESOLVED).startswith(TRAINING_PARTS)


def _places(
    records: Sequence[Mapping[str, Any]], sets: Sequence[Mapping[str, Any]], named: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Yield each record's place; a setting is shown as it was set only if all records set it.

    A learning rate that was set and a recipe's that was scaled are on different scales: where only
    some records set it, the resolved value is the one that can be compared.
    """
    configs = [flatten(record) for record in records]
    uniform = {
        name
        for name in named
        if all(name in settings for settings, config in zip(sets, configs, strict=True) if name in config)
    }
    for record, settings, config in zip(records, sets, configs, strict=True):
        cell = record["cell"]
        shown = {name: value for name, value in settings.items() if name in uniform or name not in config}
        other = {
            RESOLVED + name: config[name] for name in shown if config.get(name, shown[name]) != shown[name]
        }
        yield {
            **{name: cell.get(name) for name in (*CELL, "seed")},
            "eval_dataset": cell.get("eval_dataset") or cell["dataset"],
            **{
                name: NULL if value is None else value for name, value in {**config, **shown, **other}.items()
            },
        }


def _telling(points: Sequence[RecordPoint], named: Sequence[str]) -> tuple[str, ...]:
    chosen: list[str] = []
    trained, scored = _groups(points, TRAINED), _groups(points, CELL)
    for name in _candidates(points, named):
        values = [point.at.get(name, MISSING) for point in points]
        if _splits(points, trained if is_of_training(name) else scored, values):
            chosen.append(name)
            scored = _finer(scored, values)
            trained = _finer(trained, values) if is_of_training(name) else trained
    return tuple(chosen)


def _candidates(points: Sequence[RecordPoint], named: Sequence[str]) -> list[str]:
    """Return the settings that are not constant, first what was set, last what was only resolved."""
    every = {name for point in points for name in point.at} - {*CELL, "seed"}
    varying = (name for name in every if len({point.at.get(name, MISSING) for point in points}) > 1)
    return sorted(varying, key=lambda name: (name.startswith(RESOLVED), name not in named, name))


def _groups(points: Sequence[RecordPoint], axes: Iterable[str]) -> list[int]:
    """Return a number for each point, alike where all `axes` are."""
    groups = [0] * len(points)
    for axis in axes:
        groups = _finer(groups, [point.at.get(axis) for point in points])
    return groups


def _finer(groups: Iterable[int], values: Iterable[Any]) -> list[int]:
    numbers: dict[tuple[int, Any], int] = {}
    return [numbers.setdefault(pair, len(numbers)) for pair in zip(groups, values, strict=True)]


def _splits(points: Sequence[RecordPoint], groups: Sequence[int], values: Sequence[Any]) -> bool:
    """Tell whether one group has two values.

    A cell that was skipped may lack a config: there, a setting that is missing says nothing.
    """
    seen: dict[int, Any] = {}
    for point, group, value in zip(points, groups, values, strict=True):
        if value is MISSING and point.record["status"] != "ok":
            continue
        if seen.setdefault(group, value) != value:
            return True
    return False


def _doubled(points: Sequence[RecordPoint], axes: Sequence[str]) -> set[int]:
    """Return the places of the records in cells that hold several records of one seed."""
    cells: dict[int, list[int]] = defaultdict(list)
    for place, group in enumerate(_groups(points, axes)):
        cells[group].append(place)
    return {
        place
        for places in cells.values()
        if len({points[place].at["seed"] for place in places}) < len(places)
        for place in places
    }


def _rank(value: Any) -> tuple[bool, float, list[str | int]]:
    """Return a sort key: numbers ascend, then come words, then lists, the shorter first."""
    if isinstance(value, (int, float)):
        return False, value, []
    return True, 1 + len(value) if isinstance(value, tuple) else 0, natural(str(value))


def _with_key(point: RecordPoint) -> RecordPoint:
    return RecordPoint({**point.at, "key": point.record["keys"]["score"][:KEY_DIGITS]}, point.record)

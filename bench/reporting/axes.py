"""Give each record a value on every axis, and find the settings that tell records apart.

Only seeds are averaged, so whatever else differs between the records of one table cell has to
become an axis. What follows from an axis that is there (a recipe from its method, a scaled
learning rate from the batch size) does not.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bench.storage.data_names import ROLES, name_data, plugin_of
from bench.storage.record_fields import flatten, natural_sort_key, settings_of

AMOUNTS = ("label_frac", "shots", "keep_one")  # how many of the labels; some evaluators take none
CELL_FIELDS = ("method", "backbone", "dataset", "eval_dataset", "evaluator", *AMOUNTS)
OWN = {*CELL_FIELDS, "seed"}  # axes that are in a record's cell
STATED = OWN - {"shots", "keep_one"}  # where it says nothing of the others
TRAINED_FIELDS = ("method", "backbone", "dataset")  # what a training may depend on
TRAINING_PREFIXES = ("method.", "backbone.", "dataset.", "train.", "views.")
RESOLVED = "resolved "  # before the name of a setting that resolved to another value than was set
FOLDER = "folder"  # the axis that tells apart records of several results folders, where they have it
KEY_DIGITS = 8
NULL = "null"  # as YAML writes it; None on an axis means that there is no such setting
MISSING = object()


class Axes(Mapping[str, Any]):
    """The value of a record on every axis, by the axis's name.

    Args:
        own: the names of its cell.
        settings: what was set or resolved; the same object in all records that were made alike, of which
            there may be a hundred thousand.
    """

    __slots__ = ("own", "settings")

    def __init__(self, own: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
        self.own, self.settings = own, settings

    def __getitem__(self, name: str) -> Any:
        return self.own[name] if name in self.own else self.settings[name]

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value on an axis, `default` where there is none."""
        return self.own[name] if name in self.own else self.settings.get(name, default)

    def __iter__(self) -> Iterator[str]:
        return itertools.chain(self.own, self.settings)

    def __len__(self) -> int:
        return len(self.own) + len(self.settings)


@dataclass(frozen=True, slots=True)
class RecordPoint:
    """One record and its value on every axis.

    Args:
        axes: the values.
        record: as it was stored.
        kind: the same in points of one survey that differ in their seeds alone. They are many, and what is
            asked of every other axis is asked of one of them.
    """

    axes: Axes
    record: Mapping[str, Any]
    kind: int

    @property
    def is_transfer(self) -> bool:
        """Tell whether it is evaluated on another data set than it was trained on."""
        return bool(self.axes["dataset"] != self.axes["eval_dataset"])

    @property
    def is_on_training_data(self) -> bool:
        """Tell whether it was trained, and is evaluated on the data set it was trained on."""
        training = (self.record.get("config") or {}).get("training") or {}
        return not self.is_transfer and "epochs" in training


@dataclass(frozen=True)
class Survey:
    """All records of a table.

    Args:
        points: the records, in the order they were given.
        distinguishing: the settings without which records that differ would share a table cell.
        explicit: the settings that were set explicitly for at least one record.
        ambiguous_count: how many records only their keys tell apart; these have the axis `key`.
    """

    points: tuple[RecordPoint, ...]
    distinguishing: tuple[str, ...]
    explicit: tuple[str, ...]
    ambiguous_count: int

    @cached_property
    def kinds(self) -> tuple[RecordPoint, ...]:
        """The first point of each kind."""
        return _first_of_kinds(self.points)

    def axis_names(self) -> set[str]:
        """Return the names of all axes."""
        names = {*CELL_FIELDS, "seed", "metric"}
        for settings in {id(point.axes.settings): point.axes.settings for point in self.kinds}.values():
            names.update(settings)
        names.update(name for point in self.kinds for name in point.axes.own)
        return {name for name in names if not name.startswith(RESOLVED) or name in self.distinguishing}

    def resolve_axis(self, name: str) -> str:
        """Return the axis that `name` means: `simclr.temperature` is the axis `method.temperature`."""
        known = self.axis_names()
        roles = (resolve_role(name, point.record["cell"]) for point in self.kinds)
        return next((role for role in roles if role != name and role in known), name)

    def values_on(self, axis: str) -> list[Any]:
        """Return the values on `axis`: numbers ascend, names stay in the order of the records."""
        points = self.points if axis == "seed" else self.kinds
        distinct = list(dict.fromkeys(point.axes.get(axis) for point in points))
        values = [value for value in distinct if value is not None]
        if axis not in CELL_FIELDS or axis in AMOUNTS:
            values = sorted(values, key=_sort_key)
        return [None, *values] if None in distinct else values

    def data_of_plugin(self, axis: str, plugin: str) -> list[Any]:
        """Return the values on `axis` that a plugin reads: of `image_folder` the names of all folders."""
        if axis not in ROLES:
            return []
        own = (point.axes[axis] for point in self.kinds if plugin_of(point.record, axis) == plugin)
        return list(dict.fromkeys(own))

    def varies(self, axis: str) -> bool:
        """Tell whether `axis` has more than one value.

        That some evaluators take no label fraction does not make it vary among those that do.
        """
        values = {point.axes.get(axis) for point in self.kinds}
        if axis not in AMOUNTS or None not in values:
            return len(values) > 1
        pairs = {(point.axes["evaluator"], point.axes.get(axis)) for point in self.kinds}
        evaluators = {evaluator for evaluator, _ in pairs}
        return len(values) > 2 or len(pairs) > len(evaluators)

    @property
    def has_transfer(self) -> bool:
        """Tell whether any record is evaluated on another data set than it was trained on."""
        return any(point.is_transfer for point in self.kinds)


def survey_records(records: Iterable[Mapping[str, Any]]) -> Survey:
    """Give all records their values on the axes, and find which settings tell them apart."""
    records = list(records)
    origins = _find_origins(records)
    explicit = tuple(sorted({name for origin in origins for name in origin.set_by_role}))
    names = name_data(records)
    points = _number_kinds(zip(_place_on_axes(records, origins, explicit, names), records, strict=True))
    distinguishing = _find_distinguishing(_first_of_kinds(points), explicit)
    ambiguous = _find_ambiguous(points, (*CELL_FIELDS, *distinguishing))
    if ambiguous:
        points = _number_kinds(
            (_with_key(point) if index in ambiguous else point.axes, point.record)
            for index, point in enumerate(points)
        )
        distinguishing = (*distinguishing, "key")
    return Survey(points, distinguishing, explicit, len(ambiguous))


def resolve_role(name: str, cell: Mapping[str, Any]) -> str:
    """Return a setting's name by its plugin's role: in a cell of simclr, `simclr.x` is `method.x`."""
    plugin, _, field = name.partition(".")
    roles = (*TRAINED_FIELDS, "eval_dataset")
    role = next((role for role in roles if cell.get(role) == plugin), plugin)
    return f"{role}.{field}" if field else name


def is_of_training(name: str) -> bool:
    """Tell whether `name` is a setting of the training, so that it cannot depend on an evaluator."""
    return name.removeprefix(RESOLVED).startswith(TRAINING_PREFIXES)


def _settings_by_role(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record's settings by role; one that names a plugin overrides one that names a role."""
    by_role, by_plugin = {}, {}
    for name, value in settings_of(record).items():
        role = resolve_role(name, record["cell"])
        if role == name:
            by_role[name] = value
        else:
            by_plugin[role] = value
    return {**by_role, **by_plugin}


@dataclass(frozen=True, eq=False)
class _Origin:
    """What a record was made of: what was set, by role, and its resolved config, both by `--set` names."""

    set_by_role: Mapping[str, Any]
    config: Mapping[str, Any]


def _find_origins(records: Sequence[Mapping[str, Any]]) -> list[_Origin]:
    """Return the origin of each record: one object for those that share their settings and their config."""
    known: dict[tuple[Any, ...], _Origin] = {}
    origins = []
    for record in records:
        plugins = (record["cell"].get(name) for name in CELL_FIELDS if name not in AMOUNTS)
        key = (id(record.get("settings")), id(record.get("config")), record.get(FOLDER), *plugins)
        if key not in known:
            folder = {FOLDER: record[FOLDER]} if FOLDER in record else {}
            known[key] = _Origin(_settings_by_role(record), flatten(record) | folder)
        origins.append(known[key])
    return origins


def _place_on_axes(
    records: Sequence[Mapping[str, Any]],
    origins: Sequence[_Origin],
    explicit: Sequence[str],
    names: Sequence[tuple[str, str]],
) -> Iterator[Axes]:
    """Yield each record's value on every axis.

    Args:
        records: all of the table.
        origins: of each record.
        explicit: the names of all settings that were set for any record.
        names: of the data that each was trained and is evaluated on.
    """
    distinct = list(dict.fromkeys(origins))
    set_by_all = {
        name for name in explicit if all(name in one.set_by_role for one in distinct if name in one.config)
    }
    alike: dict[tuple[Any, ...], dict[str, Any]] = {}
    settings = {}
    for origin in distinct:
        values = {
            name: NULL if value is None else value
            for name, value in _values_of_settings(origin.set_by_role, origin.config, set_by_all).items()
        }
        typed = tuple((name, type(value), value) for name, value in values.items())  # 1 is not true
        settings[origin] = alike.setdefault(typed, values)
    for record, origin, (trained, evaluated) in zip(records, origins, names, strict=True):
        cell = record["cell"]
        if cell.keys() != STATED or (cell["dataset"], cell["eval_dataset"]) != (trained, evaluated):
            own = {name: cell.get(name) for name in OWN if name in STATED or name in cell}
            cell = {**own, "dataset": trained, "eval_dataset": evaluated}
        yield Axes(cell, settings[origin])


def _number_kinds(pairs: Iterable[tuple[Axes, Mapping[str, Any]]]) -> tuple[RecordPoint, ...]:
    """Return the points of records and their axes, each with the number of its kind."""
    numbers: dict[tuple[Any, ...], int] = {}
    points = []
    for axes, record in pairs:
        key = (record["status"], id(axes.settings), *map(axes.own.get, (*CELL_FIELDS, "key")))
        points.append(RecordPoint(axes, record, numbers.setdefault(key, len(numbers))))
    return tuple(points)


def _first_of_kinds(points: Sequence[RecordPoint]) -> tuple[RecordPoint, ...]:
    first: dict[int, RecordPoint] = {}
    for point in points:
        first.setdefault(point.kind, point)
    return tuple(first.values())


def _values_of_settings(
    settings: Mapping[str, Any], config: Mapping[str, Any], set_by_all: set[str]
) -> dict[str, Any]:
    """Return the value of each setting: the one that was set only if all records set it.

    A learning rate that was set and a recipe's that was scaled are on different scales: where only
    some records set it, the resolved value is the one that can be compared.
    """
    as_set = {name: value for name, value in settings.items() if name in set_by_all or name not in config}
    resolved = {
        RESOLVED + name: config[name] for name, value in as_set.items() if config.get(name, value) != value
    }
    return {**config, **as_set, **resolved}


def _find_distinguishing(points: Sequence[RecordPoint], explicit: Sequence[str]) -> tuple[str, ...]:
    """Return the settings that split a group which the axes chosen before do not split.

    What belongs to the training is looked at in groups of one training, all else in groups of one cell.
    """
    chosen: list[str] = []
    trainings, cells = _group_by(points, TRAINED_FIELDS), _group_by(points, CELL_FIELDS)
    for name in _list_candidates(points, explicit):
        values = [point.axes.get(name, MISSING) for point in points]
        if _splits(points, trainings if is_of_training(name) else cells, values):
            chosen.append(name)
            cells = _refine(cells, values)
            if is_of_training(name):
                trainings = _refine(trainings, values)
    return tuple(chosen)


def _list_candidates(points: Sequence[RecordPoint], explicit: Sequence[str]) -> list[str]:
    """Return the settings that are not constant, first what was set, last what was only resolved.

    Last of all is the folder: what tells its records from others is to be named, if it can be.
    """
    by_origin = {id(point.axes.settings): point.axes.settings for point in points}.values()
    names = {name for settings in by_origin for name in settings}
    varying = (n for n in names if len({settings.get(n, MISSING) for settings in by_origin}) > 1)
    return sorted(
        varying, key=lambda name: (name == FOLDER, name.startswith(RESOLVED), name not in explicit, name)
    )


def _group_by(points: Sequence[RecordPoint], axes: Iterable[str]) -> list[int]:
    """Return a group number for each point; points with the same values on all `axes` share one."""
    groups = [0] * len(points)
    for axis in axes:
        groups = _refine(groups, [point.axes.get(axis) for point in points])
    return groups


def _refine(groups: Iterable[int], values: Iterable[Any]) -> list[int]:
    """Return new group numbers: points of one group stay together only if their values are equal."""
    numbers: dict[tuple[int, Any], int] = {}
    return [numbers.setdefault(pair, len(numbers)) for pair in zip(groups, values, strict=True)]


def _splits(points: Sequence[RecordPoint], groups: Sequence[int], values: Sequence[Any]) -> bool:
    """Tell whether any group has two values.

    A cell that was skipped may lack a config: there, a setting that is missing says nothing.
    """
    first: dict[int, Any] = {}
    for point, group, value in zip(points, groups, values, strict=True):
        if value is MISSING and point.record["status"] != "ok":
            continue
        if first.setdefault(group, value) != value:
            return True
    return False


def _find_ambiguous(points: Sequence[RecordPoint], axes: Sequence[str]) -> set[int]:
    """Return the indices of all records whose cell has two records of one seed."""
    kinds = _first_of_kinds(points)
    cell_of = dict(zip((point.kind for point in kinds), _group_by(kinds, axes), strict=True))
    cells: dict[int, list[int]] = defaultdict(list)
    for index, point in enumerate(points):
        cells[cell_of[point.kind]].append(index)
    ambiguous: set[int] = set()
    for indices in cells.values():
        if len({points[index].axes["seed"] for index in indices}) < len(indices):
            ambiguous.update(indices)
    return ambiguous


def _sort_key(value: Any) -> tuple[bool, float, list[str | int]]:
    """Return a sort key: numbers ascend, then come words, then lists, the shorter first."""
    if isinstance(value, (int, float)):
        return False, value, []
    length = 1 + len(value) if isinstance(value, tuple) else 0
    return True, length, natural_sort_key(str(value))


def _with_key(point: RecordPoint) -> Axes:
    return Axes({**point.axes.own, "key": point.record["keys"]["score"][:KEY_DIGITS]}, point.axes.settings)

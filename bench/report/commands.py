"""Find the commands that make some records again: a few grids that together have exactly their cells."""

from __future__ import annotations

import json
import re
import shlex
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.reporting.axes import resolve_role
from bench.reporting.threads import threads_of
from bench.storage.data_names import is_transfer
from bench.storage.record_fields import flatten

OPTIONS = {  # of `bench run`, by the field of a cell
    "method": "--method", "backbone": "--backbone", "dataset": "--dataset", "eval_dataset": "--eval-dataset",
    "evaluator": "--eval", "label_frac": "--label-frac", "shots": "--shots",
    "keep_one": "--keep-one", "seed": "--seed",
}  # fmt: skip
FLAG = "true"  # the value of an option that takes none
SHORT = {  # for a setting
    "train.epochs": "--epochs", "train.batch_size": "--batch-size", "train.image_size": "--image-size",
    "train.precision": "--precision",
}  # fmt: skip
ABSENT = None  # the value of a cell on an axis that it does not have
PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./:+-]*")  # text that needs no quotes, and no comma or bracket
NOT_TEXT = re.compile(r"(?i)~|null|true|false|\.?(nan|inf)")  # that YAML would take for something else

EVALUATOR, LABELS = list(OPTIONS).index("evaluator"), list(OPTIONS).index("label_frac")
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?")
LINE = 100  # letters, after which a command goes on in the next line

Point = tuple[str | None, ...]  # the value of a cell on each axis
Values = tuple[str, ...]  # of one axis, as the command line has them; empty where the axis is absent
Box = tuple[Values, ...]  # the values of a grid on each axis


def list_commands(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return commands that make the cells of `records` and no others, one a grid.

    Where data lies is in no record: who runs them sets `dataset.root` and the like.

    Args:
        records: at least one.
    """
    names = list(dict.fromkeys(name for record in records for name in record.get("settings") or {}))
    fixed = {name: value for name in names if (value := _find_common(name, records)) is not ABSENT}
    varying = [name for name in names if name not in fixed]
    has_transfer = any(map(is_transfer, records))
    used: dict[Point, set[str]] = defaultdict(set)
    for record in records:
        settings = record.get("settings") or {}
        point = (
            *_place(record["cell"], has_transfer=has_transfer),
            *(_write_setting(settings, name) for name in varying),
        )
        used[point].update(fixed.keys() & settings.keys())
    threads = {threads_of(record) for record in records} - {()}
    end = f"--threads {next(iter(threads))[0]}" if len(threads) == 1 and len(next(iter(threads))) == 1 else ""
    commands = []
    for box in _join_without_labels(_factorise_best(list(used))):
        needed = {name for point, own in used.items() if _is_of(point, box) for name in own}
        common = {name: fixed[name] for name in fixed if name in needed}
        commands.append(_write_command(box, varying, common, end))
    return commands


def factorise(points: Sequence[Point]) -> list[Box]:
    """Return grids that together have exactly these points.

    Args:
        points: the value on each axis, none where the axis is absent; all of one length.
    """
    if not points[0]:
        return [()]
    rests: dict[str | None, dict[Point, None]] = defaultdict(dict)
    for point in points:
        rests[point[0]][point[1:]] = None
    alike: dict[tuple[bool, frozenset[Point]], list[str | None]] = defaultdict(list)
    for first, others in rests.items():
        alike[first is ABSENT, frozenset(others)].append(first)
    return [
        (tuple(value for value in firsts if value is not ABSENT), *box)
        for firsts in alike.values()
        for box in factorise(list(rests[firsts[0]]))
    ]


def _factorise_best(points: Sequence[Point]) -> list[Box]:
    """Return the fewest grids that are found when each axis in turn is looked at first."""
    axes = range(len(points[0]))
    found = []
    for first in axes:
        order = [first, *(axis for axis in axes if axis != first)]
        boxes = factorise([tuple(point[axis] for axis in order) for point in points])
        back = sorted(axes, key=order.__getitem__)
        found.append([tuple(box[place] for place in back) for box in boxes])
    return min(found, key=len)


def _join_without_labels(boxes: Sequence[Box]) -> list[Box]:
    """Join grids of evaluators that take no share of the labels with others that are otherwise alike.

    To such an evaluator it is the same which shares the others are given.
    """
    joined: dict[tuple[Values, ...], list[Box]] = defaultdict(list)
    for box in boxes:
        joined[tuple(v for axis, v in enumerate(box) if axis not in (EVALUATOR, LABELS))].append(box)
    result = []
    for some in joined.values():
        with_labels = [box for box in some if box[LABELS]]
        without = [box for box in some if not box[LABELS]]
        if with_labels and without:
            first = with_labels[0]
            evaluators = dict.fromkeys(name for box in (first, *without) for name in box[EVALUATOR])
            with_labels[0] = (*first[:EVALUATOR], tuple(evaluators), *first[EVALUATOR + 1 :])
            without = []
        result += with_labels + without
    return result


def write_value(value: Any) -> str:
    """Return a value as `--set` reads it."""
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(write_value, value))}]"
    if isinstance(value, str):
        return value if PLAIN.fullmatch(value) and not NOT_TEXT.fullmatch(value) else json.dumps(value)
    return json.dumps(value)


def _find_common(name: str, records: Iterable[Mapping[str, Any]]) -> str | None:
    """Return the value of a setting that has one value in all records that it could be set for."""
    values: set[str | None] = set()
    for record in records:
        settings = record.get("settings") or {}
        role = resolve_role(name, record["cell"])
        if name in settings:
            values.add(_write_setting(settings, name))
        elif role in flatten(record):
            return ABSENT
    return values.pop() if len(values) == 1 else ABSENT


def _write_setting(settings: Mapping[str, Any], name: str) -> str | None:
    return write_value(settings[name]) if name in settings else ABSENT


def _place(cell: Mapping[str, Any], *, has_transfer: bool) -> Point:
    """Return a cell's values on the axes of `OPTIONS`, as the command line has them."""
    own = {**cell, "eval_dataset": (cell.get("eval_dataset") or cell["dataset"]) if has_transfer else ABSENT}
    values = (own.get(field) for field in OPTIONS)
    return tuple(map(_write_axis, values))


def _write_axis(value: Any) -> str | None:
    if value is None or isinstance(value, bool):
        return FLAG if value else ABSENT
    return f"{value:g}" if isinstance(value, float) else str(value)


def _is_of(point: Point, box: Box) -> bool:
    """Tell whether a grid makes a cell; of an evaluator without a share of the labels, any share will do."""
    return all(
        value in values if value is not ABSENT else not values or axis == LABELS
        for axis, (value, values) in enumerate(zip(point, box, strict=True))
    )


def _write_command(box: Box, varying: Sequence[str], common: Mapping[str, str], end: str) -> str:
    parts = ["bench run"]
    for option, values in zip(OPTIONS.values(), box, strict=False):
        if values == (FLAG,) and option == OPTIONS["keep_one"]:
            parts.append(option)
        elif values:
            parts.append(f"{option} {shlex.quote(','.join(_sort(values)))}")
    settings = dict(zip(varying, box[len(OPTIONS) :], strict=True)) | {n: (v,) for n, v in common.items()}
    for name, values in settings.items():
        text = ",".join(_sort(values))
        if values and name in SHORT:
            parts.append(f"{SHORT[name]} {shlex.quote(text)}")
        elif values:
            parts.append(f"--set {shlex.quote(f'{name}={text}')}")
    return _wrap([*parts, *filter(None, [end])])


def _sort(values: Values) -> list[str]:
    """Return numbers ascending, and names in their order."""
    if all(map(NUMBER.fullmatch, values)):
        return sorted(values, key=float)
    return list(values)


def _wrap(parts: Sequence[str]) -> str:
    """Return the words of a command, on several lines where it is long."""
    lines = [parts[0]]
    for part in parts[1:]:
        if len(lines[-1]) + len(part) > LINE:
            lines.append(f"          {part}")
        else:
            lines[-1] += f" {part}"
    return " \\\n".join(lines)

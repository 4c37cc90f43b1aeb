"""What a record has to look like, so that no reader of it meets what it does not expect.

A results folder may be a stranger's, and a digest says who wrote a record as little as its place does. So the
types and sizes of all that readers rely on are checked here, once. What a record says beside that is plain
data of bounded depth and size.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from bench.bounds import LARGEST, WHOLE

SCHEMA = 2
WITHOUT_DIGEST = 1  # the schema of records that have no digest, and a direction for every metric
TAGS = ("features", "probe", "checkpoint", "selected_split")  # of a protocol: tables compare by them
STATUSES = ("ok", "failed", "skipped")
NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}  # JSON has no numbers for them

NAME_LETTERS = 4096  # of a name of a cell, a metric or a key: the longest path
TEXT_LETTERS = 1_000_000  # of any other text
DEEPEST = 16  # parts within parts
KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}", re.ASCII)  # it names a folder and a file

Check = Callable[[Any, str], str]  # from a value and where it stands to what is wrong with it, or nothing


class Malformed(ValueError):
    """A value has not the shape of a record; the message says where and why."""


class NewerSchema(ValueError):
    """A newer bench wrote a record; the message is its schema."""


def find_fault(record: Any) -> str:
    """Return what is wrong with the shape of a record, as JSON gave it, or nothing."""
    if not isinstance(record, dict):
        return f"it is {_kind_of(record)}, not a record"
    if record.get("schema") not in (WITHOUT_DIGEST, SCHEMA):
        return f"its schema is {show(record.get('schema'))}"
    return _record(record, "")


def check_shape(record: Any) -> None:
    """Refuse what has not the shape of a record.

    Args:
        record: as JSON gave it.

    Raises:
        NewerSchema: a newer bench wrote it.
        Malformed: it is none.
    """
    schema = record.get("schema") if isinstance(record, dict) else None
    if type(schema) is int and SCHEMA < schema < WHOLE:
        raise NewerSchema(schema)
    fault = find_fault(record)
    if fault:
        raise Malformed(fault)


def find_part_fault(name: str, value: Any) -> str:
    """Return what is wrong with the shape of a part of a record, or nothing."""
    return PARTS.get(name, _plain)(value, name)


def show(value: Any, most: int = 40) -> str:
    """Return a value of a file as a message can hold it: short, and on one line."""
    if isinstance(value, int) and abs(value) >= WHOLE:
        return "an enormous number"
    text = ascii(value) if isinstance(value, str) else repr(value) if _is_scalar(value) else _kind_of(value)
    return text if len(text) <= most else f"{text[: most - 1]}…"


# ---- values


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float, str))


def _kind_of(value: Any) -> str:
    kinds = {dict: "a mapping", list: "a list", str: "text", bool: "true or false", type(None): "nothing"}
    return kinds.get(type(value), "a number")


def _fail(value: Any, where: str, wanted: str) -> str:
    where = where if len(where) <= 80 else f"{where[:79]}…"
    return f"{ascii(where)[1:-1] or 'it'} is {show(value)}, not {wanted}"


def _number(value: Any, where: str) -> str:
    if isinstance(value, str) and value in NOT_FINITE:
        return ""
    if type(value) not in (int, float):
        return _fail(value, where, "a number")
    is_fine = not math.isfinite(value) if isinstance(value, float) else False
    return "" if is_fine or abs(value) <= LARGEST else _fail(value, where, "a number of any use")


def _whole(value: Any, where: str) -> str:
    return "" if type(value) is int and 0 <= value < WHOLE else _fail(value, where, "a whole number")


def _share(value: Any, where: str) -> str:
    is_one = type(value) in (int, float) and 0 < value <= 1
    return "" if is_one else _fail(value, where, "a share of 1")


def _flag(value: Any, where: str) -> str:
    return "" if isinstance(value, bool) else _fail(value, where, "true or false")


def _text(most: int) -> Check:
    def check(value: Any, where: str) -> str:
        if not isinstance(value, str):
            return _fail(value, where, "text")
        return "" if len(value) <= most else f"{where[:80]} has {len(value):,} letters, more than {most:,}"

    return check


def _key(value: Any, where: str) -> str:
    is_one = isinstance(value, str) and KEY.fullmatch(value)
    return "" if is_one else _fail(value, where, "a key")


def _one_of(*values: str) -> Check:
    def check(value: Any, where: str) -> str:
        return "" if value in values else _fail(value, where, f"one of {', '.join(values)}")

    return check


def _maybe(inner: Check) -> Check:
    return lambda value, where: "" if value is None else inner(value, where)


def _listed(inner: Check) -> Check:
    def check(value: Any, where: str) -> str:
        if not isinstance(value, list):
            return _fail(value, where, "a list")
        return next(filter(None, (inner(item, f"{where}[{n}]") for n, item in enumerate(value))), "")

    return check


def _mapping(inner: Check) -> Check:
    def check(value: Any, where: str) -> str:
        if not isinstance(value, dict):
            return _fail(value, where, "a mapping")
        for name, item in value.items():
            fault = _name(name, f"a name in {where}") or inner(item, f"{where}.{name}")
            if fault:
                return fault
        return ""

    return check


def _fields(
    required: Mapping[str, Check], optional: Mapping[str, Check], others: Check | None = None
) -> Check:
    """Return the check of a mapping with these fields.

    Args:
        required: those that have to be there.
        optional: those that may be.
        others: of all others; none is `_plain`.
    """
    known = {**required, **optional}

    def check(value: Any, where: str) -> str:
        if not isinstance(value, dict):
            return _fail(value, where, "a mapping")
        start = f"{where}." if where else ""
        for name in required:
            if name not in value:
                return f"{start}{name} is not there"
        for name, item in value.items():
            inner = known.get(name) or others or _plain
            fault = _name(name, f"a name in {where or 'it'}") or inner(item, f"{start}{name}")
            if fault:
                return fault
        return ""

    return check


def _either(wanted: str, *inner: Check) -> Check:
    def check(value: Any, where: str) -> str:
        faults = [one(value, where) for one in inner]
        return "" if "" in faults else _fail(value, where, wanted)

    return check


def _scalar(value: Any, where: str) -> str:
    if value is None or isinstance(value, bool):
        return ""
    if isinstance(value, str):
        return _long(value, where)
    if type(value) is int:
        return "" if abs(value) < WHOLE * 2 else _fail(value, where, "a number of any use")
    return _number(value, where) if isinstance(value, float) else _fail(value, where, "a plain value")


def _plain(value: Any, where: str, depth: int = 0) -> str:
    """Refuse what is nested too deep, or has an enormous text or number in it."""
    if isinstance(value, (dict, list)):
        if depth == DEEPEST:
            return f"{where[:80]} is nested too deep"
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for name, item in items:
            fault = isinstance(name, str) and _name(name, f"a name in {where}")
            fault = fault or _plain(item, f"{where}.{name}"[:200], depth + 1)
            if fault:
                return fault
        return ""
    return _scalar(value, where)


CELL_TEXTS = ("method", "backbone", "dataset", "evaluator")
CELL_OTHERS = ("eval_dataset", "dataset_name", "eval_dataset_name")
_name, _long = _text(NAME_LETTERS), _text(TEXT_LETTERS)
_numbers = _mapping(_maybe(_number))
_section = _maybe(_fields({}, {name: _maybe(_name) for name in ("fingerprint", "dist")}))
_metric = _fields({"value": _number}, {"higher_is_better": _maybe(_flag), "n": _maybe(_whole)})
_training = _maybe(
    _fields({}, {name: _maybe(_number) for name in ("epochs", "batch_size", "lr", "image_size")})
)

CELL = _fields(
    dict.fromkeys(CELL_TEXTS, _name),
    {
        **{name: _maybe(_name) for name in CELL_OTHERS},
        "label_frac": _maybe(_share),
        "shots": _maybe(_whole),
        "keep_one": _maybe(_flag),
        "seed": _maybe(_whole),
    },
    _scalar,
)
COST: Mapping[str, Check] = {
    **{name: _maybe(_number) for name in ("images_per_s", "features_images_per_s", "params", "flops")},
    "seconds": _maybe(_numbers),
    "peak_mb": _maybe(_either("a number or one of each stage", _number, _numbers)),
    "passes": _maybe(_mapping(_maybe(_numbers))),
    "threads": _maybe(_mapping(_maybe(_listed(_whole)))),
    "devices": _maybe(_listed(_scalar)),
}
PARTS: Mapping[str, Check] = {
    "cell": CELL,
    "keys": _fields(
        {"score": _key},
        {
            "backbone": _maybe(_key),
            "features": _maybe(_either("a key of each split", _key, _mapping(_key))),
        },
    ),
    "status": _one_of(*STATUSES),
    "settings": _maybe(_fields({}, {})),
    "config": _maybe(
        _fields(
            {},
            {
                **dict.fromkeys(("method", "backbone", "dataset", "eval_dataset", "evaluator"), _section),
                "training": _training,
                "views": _maybe(_listed(_fields({}, {}))),
            },
        )
    ),
    "contents": _maybe(_mapping(_maybe(_name))),
    "reason": _maybe(_long),
    "metrics": _mapping(_metric),
    "headline": _maybe(_name),
    "predictions": _maybe(_whole),  # how many images have one, in the artifact of the score
    "per_class": _maybe(_mapping(_maybe(_listed(_maybe(_number))))),
    "classes": _maybe(_listed(_name)),
    "notes": _maybe(_listed(_long)),
    "notes_of": _maybe(_mapping(_listed(_long))),
    "protocol": _maybe(
        _fields({}, {"training_labels": _maybe(_number), **dict.fromkeys(TAGS, _maybe(_name))})
    ),
    "cost": _maybe(_fields({}, COST)),
    "provenance": _maybe(_fields({}, {})),
    "error": _maybe(_fields({}, {name: _maybe(_long) for name in ("stage", "type", "message", "traceback")})),
}
_record = _fields({name: PARTS[name] for name in ("cell", "keys", "status", "metrics")}, PARTS)

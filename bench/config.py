"""Settings of a plugin: one frozen dataclass, from which help, checks and keys are derived.

A plugin's class declares it so:

    @dataclass(frozen=True, kw_only=True)
    class Config:
        temperature: float = setting(0.5, "softmax temperature", source="Chen 2020, B.9", above=0)
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import math
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench.bounds import LARGEST, WHOLE
from bench.errors import BadValue, UnknownName, suggest

OUR_CHOICE = "our choice"  # the source of a default that nobody published


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoSettings:
    """The Config of a plugin that has nothing to set."""


class WrittenList(list[Any]):
    """A list as YAML reads it, which remembers how its items are written: the class `1e5` is no number.

    Args:
        items: as YAML reads them.
        texts: as they are written.
    """

    def __init__(self, items: Iterable[Any], texts: Iterable[str]) -> None:
        super().__init__(items)
        self.texts = list(texts)


def setting(
    default: Any,
    doc: str,
    *,
    source: str = OUR_CHOICE,
    above: float | None = None,
    least: float | None = None,
    most: float | None = None,
    choices: tuple[Any, ...] = (),
    file: bool = False,
    later: bool = False,
) -> Any:
    """Declare a Config field with its meaning, its source and its range.

    Args:
        default: the value when nothing is set.
        doc: one line for `bench show`.
        source: where the default is from: paper and section, or repository and file.
        above: the value must be larger than this.
        least: the value must be at least this.
        most: the value must be at most this.
        choices: the only values allowed; empty for any.
        file: the value is a path; its content, not its name, goes into the key.
        later: the field came when there were results; at its default it is in no key.
    """
    limits = {"above": above, "least": least, "most": most, "choices": choices}
    metadata = {"doc": doc, "source": source, "file": file, "later": later, **limits}
    if isinstance(default, (list, dict)):
        raise TypeError(f"setting: the default {default!r} can change; use a tuple")
    return dataclasses.field(default=default, metadata=metadata)


def build(cls: type, values: Mapping[str, Any], where: str) -> Any:
    """Build a Config from values as YAML gives them.

    Args:
        cls: the frozen dataclass.
        values: field name to value; fields left out take their default.
        where: what an error starts with, e.g. `simclr`.

    Raises:
        UnknownName: `values` names a field that `cls` does not have.
        BadValue: a value has the wrong type or is out of range.
    """
    fields = {f.name: f for f in dataclasses.fields(cls)}
    for name in values:
        if name not in fields:
            raise UnknownName(f"{where}: no setting is named {name!r}.{suggest_setting(name, fields)}")
    hints = _hints(cls)
    checked = {
        name: _check_value(value, hints[name], fields[name].metadata, f"{where}.{name}")
        for name, value in values.items()
    }
    return cls(**checked)


def suggest_setting(name: str, fields: Iterable[str], see: str = "") -> str:
    """Return the end of an error about an unknown setting.

    Args:
        name: what was written.
        fields: the settings that there are.
        see: the command that shows them.
    """
    fields = tuple(fields)
    if not fields:
        return " It has nothing to set."
    return suggest(name, fields) or (f" See `{see}`." if see else "")


def check_value(cls: type, name: str, value: Any, where: str) -> None:
    """Refuse a value that `build` would refuse for a field, whatever the other fields are.

    Args:
        cls: the dataclass.
        name: of the field.
        value: as YAML gives it.
        where: what an error starts with.

    Raises:
        BadValue: the value has the wrong type or is out of range.
    """
    metadata = next(f.metadata for f in dataclasses.fields(cls) if f.name == name)
    _check_value(value, _hints(cls)[name], metadata, f"{where}.{name}")


def check_fields(config: Any, where: str, limits: type | None = None) -> None:
    """Refuse a dataclass of settings with a value that `build` would have refused, however it was made.

    Args:
        config: an instance; anything that is no dataclass has nothing to check.
        where: what an error starts with.
        limits: the dataclass whose fields have the ranges and choices; none is the config's own class.

    Raises:
        BadValue: a value has the wrong type, is out of range or is not one of its values.
    """
    if not dataclasses.is_dataclass(config):
        return
    cls: Any = type(config)
    hints, own = _hints(cls), {f.name: f.metadata for f in dataclasses.fields(cls)}
    metadata = own if limits is None else {f.name: f.metadata for f in dataclasses.fields(limits)}
    for name, hint in hints.items():
        if name in own and name in metadata:
            _check_value(getattr(config, name), hint, metadata[name], f"{where}.{name}")


def is_in_key(field: dataclasses.Field[Any], value: Any) -> bool:
    """Return whether the value of a field is in a key; that of a later field is only where it is set.

    So a config that does not set it keeps the key it had before the field came.
    """
    return not (field.metadata.get("later") and value == field.default)


def key_fields(config: Any) -> dict[str, Any]:
    """Return the fields of a frozen dataclass of settings that are in a key and a record, as they are."""
    pairs = ((field, getattr(config, field.name)) for field in dataclasses.fields(config))
    return {field.name: value for field, value in pairs if is_in_key(field, value)}


def identity(config: Any) -> dict[str, Any]:
    """Return what a key hashes of `config`: its key fields, a file by the digest of its content."""
    cls: Any = type(config)
    hints = _hints(cls)
    hashed = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if not is_in_key(field, value):
            continue
        if field.metadata.get("file") and value is not None:
            value = file_digest(Path(value))
        hashed[field.name] = _to_json(value, hints[field.name])
    return hashed


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)  # reading annotations again took half of planning a large grid


def format_value(value: Any) -> str:
    """Return a value as it is written after `--set`."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(format_value, value))}]"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _to_json(value: Any, hint: Any) -> Any:
    """Return `value` as JSON has it; a whole number that is hinted to be a float is one.

    A default of 10 and a 10 that is set, which is 10.0, would be two keys of one config.
    """
    if isinstance(value, tuple):
        return [_to_json(item, hint) for item in value]
    may_be_float = hint is float or float in typing.get_args(hint)
    return float(value) if type(value) is int and may_be_float else value


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's content.

    Raises:
        BadValue: the file cannot be read.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise BadValue(f"{path}: the file cannot be read ({error.strerror}).") from None


def _check_value(value: Any, hint: Any, limits: Mapping[str, Any], where: str) -> Any:
    """Return `value` in the type of its hint, or raise where it is no value of its field."""
    value = _coerce(value, hint, where)
    _refuse_nul(value, where)
    choices = limits.get("choices") or ()
    if choices and value is not None and value not in choices:
        near = suggest(str(value), map(str, choices))
        raise BadValue(f"{where}: {value!r} is not one of its values.{near}")
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, (int, float)) and not isinstance(number, bool):
            _check_range(number, limits, where)
    return value


def _refuse_nul(value: Any, where: str) -> None:
    """Refuse a text that no path and no name can be; every other sign may be in one."""
    for text in value if isinstance(value, tuple) else (value,):
        if isinstance(text, str) and "\0" in text:
            raise BadValue(f"{where}: {text!r} has a NUL in it. Take it out.")


def _check_range(number: float, limits: Mapping[str, Any], where: str) -> None:
    above, least, most = (limits.get(name) for name in ("above", "least", "most"))
    if isinstance(number, int) and abs(number) >= WHOLE:
        bits = number.bit_length()
        raise BadValue(f"{where}: a whole number of {bits} bits is out of range. Use one of 63 bits at most.")
    if LARGEST < abs(number) < math.inf:
        raise BadValue(f"{where}: {number:g} is out of range: single precision holds {LARGEST:g} at most.")
    is_within = (
        math.isfinite(number)
        and (above is None or number > above)
        and (least is None or number >= least)
        and (most is None or number <= most)
    )
    if is_within:
        return
    words = {"more than": above, "at least": least, "at most": most}
    bounds = [f"{word} {bound:g}" for word, bound in words.items() if bound is not None]
    raise BadValue(f"{where}: {number:g} is out of range. Use {' and '.join(bounds) or 'a finite number'}.")


def _coerce(value: Any, hint: Any, where: str) -> Any:
    """Return `value` in the type `hint`: an int may serve as a float, a list as a tuple."""
    origin, members = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in members:
            return None
        return _coerce(value, next(member for member in members if member is not type(None)), where)
    if origin is tuple:
        items = value if isinstance(value, (list, tuple)) else [value]
        if members[-1] is not Ellipsis and len(items) != len(members):
            raise BadValue(f"{where}: {value!r} has {len(items)} items. Use {len(members)}.")
        kinds = [members[0]] * len(items) if members[-1] is Ellipsis else members
        if isinstance(value, WrittenList) and all(kind is str for kind in kinds):
            items = value.texts
        return tuple(_coerce(v, kind, where) for v, kind in zip(items, kinds, strict=True))
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        is_enormous = isinstance(value, int) and abs(value) >= WHOLE  # its range is refused, as it stands
        return value if is_enormous else float(value)
    if hint is float and isinstance(value, str):  # YAML 1.1 reads 1e-4 as a word
        with contextlib.suppress(ValueError):  # the error below says what to use
            return float(value)
    if hint is str and isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    words = {"bool": "true or false", "int": "a whole number", "float": "a number"}
    kind = words.get(hint.__name__, f"a {hint.__name__}")
    raise BadValue(f"{where}: {value!r} is {type(value).__name__}. Use {kind}.")

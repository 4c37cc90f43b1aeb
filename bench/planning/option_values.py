"""Read the values of options: each reader returns one in its type, or says what is wrong with it.

A reader takes a value, as YAML reads it or as text of a command line, and what an error starts with: the
option, and the file that it stands in. What it refuses is a `BadValue`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.bounds import LARGEST, WHOLE
from bench.errors import BadValue
from bench.plain_text import shorten_text
from bench.planning.grid_file import SHOWN, read_value, split

CLAIMS = ("auto", "lock", "lease")
DEVICE = re.compile(r"auto|cpu|mps|cuda(:[0-9]+)?")
TIME = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?")
UNITS_S = (86_400, 3_600, 60, 1)  # of its parts


def read_axis(value: Any, where: str, check: Callable[[Any, str], Any]) -> tuple[Any, ...]:
    """Return the values of an axis, as often as they are named.

    Text is split at its outer commas and each value is read: `0.1,0.5` is two numbers, `[cat,dog]` one
    list. The entries of a list in a file are taken as they are.

    Args:
        value: as in `read_options`.
        where: what an error starts with.
        check: returns one value in its type, or raises.

    Raises:
        BadValue: there is no value, or one is empty.
    """
    texts = (value,) if isinstance(value, str) else value
    if isinstance(texts, tuple):
        items = [item for text in texts for item in split(text, where)]
        is_read = isinstance(value, str) and len(items) == 1  # by YAML, with the rest of its file
        if not is_read and check is not read_name:
            items = [read_value(item, where) for item in items]
    else:
        items = value if isinstance(value, list) else [value]
    if not items:
        raise BadValue(f"{where}: there is no value. Name at least one, or leave it out.")
    return tuple(check(item, where) for item in items)


def _show(value: Any) -> str:
    """Return a value as a message can hold it."""
    is_enormous = isinstance(value, int) and abs(value) >= WHOLE
    return "an enormous number" if is_enormous else shorten_text(repr(value), SHOWN)


def accept(value: Any, where: str) -> Any:
    """Return a value as it is: of which type it has to be is known later."""
    return value


def read_name(value: Any, where: str) -> str:
    """Return a name, or the path of a file."""
    if value is None or value == "":
        raise BadValue(f"{where}: it is empty. Name one, or leave it out.")
    if not isinstance(value, str):
        raise BadValue(
            f"{where}: {value!r} is not a name. Write a name, in quotes if it looks like a number."
        )
    if "\0" in value:
        raise BadValue(f"{where}: {value!r} has a NUL in it. Take it out.")
    return value.strip()


def read_share(value: Any, where: str) -> float:
    """Return a number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > LARGEST:
        raise BadValue(f"{where}: {_show(value)} is not a number. Use a share like 0.1.")
    return float(value)


def read_seed(value: Any, where: str) -> int:
    """Return a whole number of at least 0."""
    return _read_whole(value, where, least=0)


def read_shots(value: Any, where: str) -> int:
    """Return a whole number of at least 1."""
    return _read_whole(value, where, least=1)


def read_count(value: Any, where: str, least: int = 1) -> int:
    """Return a whole number, which may be written as text."""
    return _read_whole(read_value(value, where) if isinstance(value, str) else value, where, least=least)


def read_timeout(value: Any, where: str) -> float:
    """Return the seconds of a time such as 90, 1.5 or 1h30m.

    Args:
        value: as text, or as YAML reads it.
        where: what an error starts with.

    Raises:
        BadValue: it is none, or no time at all.
    """
    parts = TIME.fullmatch(str(value).strip()) if not isinstance(value, bool) else None
    counts = [float(count) if count else 0.0 for count in parts.groups()] if parts else []
    seconds = sum(count * unit for count, unit in zip(counts, UNITS_S, strict=False))
    if not seconds:
        raise BadValue(f"{where}: {value} is not a time. Use seconds, or hours, minutes and seconds: 1h30m.")
    return seconds


def _read_whole(value: Any, where: str, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < WHOLE:
        raise BadValue(f"{where}: {_show(value)} is not a whole number of at least {least}.")
    return value


def read_folder(value: Any, where: str) -> Path:
    """Return the path of a folder, of which `~` is the home."""
    try:
        return Path(read_name(value, where)).expanduser()
    except RuntimeError:  # ~somebody
        raise BadValue(f"{where}: {value} is the home of nobody here. Write the whole path.") from None


def read_gpus(value: Any, where: str) -> tuple[str, ...]:
    """Return the numbers or names of GPUs, each once."""
    names = split(value, where) if isinstance(value, str) else value if isinstance(value, list) else [value]
    gpus = tuple(str(name).strip() for name in names)
    if len(set(gpus)) < len(gpus):
        raise BadValue(f"{where}: a GPU is there twice. Name each once.")
    return gpus


def read_loggers(value: Any, where: str) -> tuple[str, ...]:
    """Return the names of loggers, each once."""
    return tuple(dict.fromkeys(read_axis(value, where, read_name)))


def read_claims(value: Any, where: str) -> str:
    """Return one of `CLAIMS`."""
    if value not in CLAIMS:
        raise BadValue(f"{where}: {value!r} is not one of {', '.join(CLAIMS)}.")
    return str(value)


def read_device(value: Any, where: str) -> str:
    """Return the name of a device."""
    name = read_name(value, where)
    if not DEVICE.fullmatch(name):
        raise BadValue(f"{where}: {name} is not the name of a device. Use auto, cpu, cuda, cuda:N or mps.")
    return name


def read_flag(value: Any, where: str) -> bool:
    """Return true or false."""
    if not isinstance(value, bool):
        raise BadValue(f"{where}: {value!r} is neither true nor false.")
    return value

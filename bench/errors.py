"""The errors a user can fix.

    BenchError
    ├── UsageError          exit 2: the request cannot be met; known before any training
    │   ├── UnknownName     no plugin, field or dataset of that name
    │   ├── BadValue        a field's value has the wrong type or is out of range
    │   │   └── NoDevice    a device, or as many of them, that this machine does not have
    │   ├── BadData         a folder, archive or image that cannot be used
    │   │   └── MissingData     published files that are not there, or not all of them
    │   └── BadPlugin       a plugin that is installed but cannot be loaded, or breaks when it is asked
    ├── Unsupported         this combination cannot work: a skipped cell, with this reason
    └── CellError           exit 1: this cell failed, the others go on
        ├── Diverged        the loss is not a finite number
        ├── DeviceLost      the device does nothing more in this process
        └── ClaimLost       another process took over what this one was at

Each message is one line: where, what is wrong, what to do.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping

from bench.plain_text import cut, join_lines, spell_out
from bench.spelling import find_nearest

MESSAGE, LINE = 4_000, 1_000  # letters that are kept of a message, and of what is said in one line


class BenchError(Exception):
    """Anything that is reported in one line, without a traceback."""

    def __str__(self) -> str:
        """Return the message; what it names may be a stranger's, and steers no terminal."""
        return cut(spell_out(super().__str__()).replace("\n", " "), MESSAGE)


class UsageError(BenchError):
    """The request cannot be met."""


class UnknownName(UsageError):
    """Nothing is registered under a name."""


class BadValue(UsageError):
    """A value has the wrong type or is outside its range."""


class NoDevice(BadValue):
    """A device, or as many of them, that this machine does not have."""


class BadData(UsageError):
    """A data set is missing, empty or damaged."""


class MissingData(BadData):
    """The files of a published data set are not there, or not all of them; a dry run can do without."""


class BadPlugin(UsageError):
    """A plugin is installed but cannot be loaded, or breaks when it is asked for something."""


class Unsupported(BenchError):
    """A combination of parts cannot work; the message is the reason a table shows."""


class CellError(BenchError):
    """A cell failed while it ran."""


class Diverged(CellError):
    """The loss became infinite or not a number."""


class DeviceLost(CellError):
    """A device does nothing more in this process: an error on it stays until the process ends."""


class ClaimLost(CellError):
    """Another process took over what this one was at, as it gave no sign of life."""


@contextlib.contextmanager
def refuse_unreadable() -> Iterator[None]:
    """Turn an OSError of the block into an error about the data, whoever tried to read it.

    Raises:
        BadData: instead of an OSError.
    """
    try:
        yield
    except OSError as error:
        what = error.filename or "a file of the data"
        message = f"{what}: it cannot be read ({error.strerror or error}). Check its permissions."
        raise BadData(message) from error


def one_line(error: BaseException) -> str:
    """Return an exception's class and message on one line; a long one is cut."""
    return as_line(f"{type(error).__name__}: {message_of(error)}")


def message_of(error: BaseException) -> str:
    """Return the message of an exception, whose class may be a plugin's and say it wrongly."""
    try:
        return str(error)
    except Exception as broken:  # noqa: BLE001 - whatever it is, the first error is to be told
        return f"(its message cannot be had: {type(broken).__name__})"


def as_line(text: str) -> str:
    """Return a message on one line; a long one is cut."""
    return cut(join_lines(text), LINE).removesuffix(":")


def suggest(name: str, known: Iterable[str], most: int = 12, also: Mapping[str, str] | None = None) -> str:
    """Return the end of an error about an unknown name: the nearest known ones, or all of them.

    Args:
        name: what was written.
        known: the names that there are.
        most: so many of them are listed.
        also: other words for known names.
    """
    names = sorted(set(known))
    near = find_nearest(name, names, also)
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    if names and len(names) <= most:
        hint += f" Known: {', '.join(names)}."
    return hint

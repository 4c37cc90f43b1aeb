"""What a process is at, noted where the process that waits for it can read it, and what ended earlier ones.

A process that a plugin ends (`os._exit`, a segmentation fault) can tell nobody, and neither can one that a
plugin keeps for ever. So it notes which plugin it calls and since when, and the next process of the command
refuses that call.
"""

from __future__ import annotations

import contextlib
import mmap
import re
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from bench.errors import BadPlugin
from bench.system.process_end import ProcessEnd

OBSERVER, CELL, CALL, LOAD, RUN = range(5)  # what is blamed first for the end of a process
CALL_LIMIT_S = 0.0  # of a call, where the command names none: it may take what it takes


@dataclass(frozen=True)
class Whereabouts:
    """What a process is at.

    Args:
        rank: of the block of `survived`.
        what: it is at; empty where it is in no such block.
        since: when it began, by the monotonic clock, which processes share.
        call_limit_s: that a call of a plugin may take; 0 is what it takes.
    """

    rank: int
    what: str
    since: float
    call_limit_s: float

    @property
    def name(self) -> str:
        """What it is at, for people."""
        return self.what.partition("\0")[0]


class Journal:
    """What a process is at, in memory that outlives it and is shared with the process that forked it."""

    # is the command done, its exit status, how long calls may take; rank, begin and length of what follows
    _HEAD = struct.Struct("<?id")
    _ENTRY = struct.Struct("<idI")
    _SIZE = 1 << 16

    def __init__(self) -> None:
        self.endings: dict[str, ProcessEnd] = {}  # how earlier processes ended, by what they were at
        self._memory = mmap.mmap(-1, self._SIZE)
        self._entries: list[tuple[int, str, float]] = []
        self._limit_s = CALL_LIMIT_S
        self._alone = threading.Lock()

    @property
    def status(self) -> int | None:
        """The exit status of the command, once it is done."""
        done, status, _ = self._HEAD.unpack_from(self._memory)
        return status if done else None

    def look(self) -> Whereabouts:
        """Return what the process is, or was, at."""
        _, _, limit = self._HEAD.unpack_from(self._memory)
        rank, since, length = self._ENTRY.unpack_from(self._memory, self._HEAD.size)
        start = self._HEAD.size + self._ENTRY.size
        what = self._memory[start : start + length].decode(errors="replace")
        return Whereabouts(rank, what, since, limit)

    def clear(self) -> None:
        """Forget what the last process was at, for the next."""
        self._HEAD.pack_into(self._memory, 0, False, 0, CALL_LIMIT_S)  # noqa: FBT003 - the struct's own
        self._ENTRY.pack_into(self._memory, self._HEAD.size, CALL, 0.0, 0)

    def finish(self, status: int) -> None:
        """Note that the command is done."""
        self._HEAD.pack_into(self._memory, 0, True, status, self._limit_s)  # noqa: FBT003 - the struct's own

    def limit_calls(self, seconds: float) -> None:
        """Note how long a call of a plugin may take."""
        self._limit_s = seconds
        self._HEAD.pack_into(self._memory, 0, False, 0, seconds)  # noqa: FBT003 - the struct's own

    def enter(self, rank: int, what: str) -> None:
        """Note that a block is entered."""
        with self._alone:
            self._entries.append((rank, what, time.monotonic()))
            self._write()

    def leave(self, rank: int, what: str) -> None:
        """Note that a block is left."""
        with self._alone:
            last = max(i for i, entry in enumerate(self._entries) if entry[:2] == (rank, what))
            del self._entries[last]
            self._write()

    def _write(self) -> None:
        """Write down the entry to be blamed: of the lowest rank, and of those the latest."""
        rank, what, since = min(reversed(self._entries), key=lambda entry: entry[0], default=(CALL, "", 0.0))
        start = self._HEAD.size + self._ENTRY.size
        said = what.encode()[: self._SIZE - start]
        self._memory[start : start + len(said)] = said
        self._ENTRY.pack_into(self._memory, self._HEAD.size, rank, since, len(said))


_kept: dict[str, Journal] = {}  # under "own" the one of this process, where another waits for it


def keep_journal(journal: Journal) -> None:
    """Have this process note in a journal what it is at."""
    _kept["own"] = journal


def finish_journal(status: int) -> None:
    """Note that the command of this process is done."""
    if journal := _kept.get("own"):
        journal.finish(status)


def limit_calls(seconds: float) -> None:
    """Have this process ended where a call of a plugin takes longer, if another waits for it."""
    if journal := _kept.get("own"):
        journal.limit_calls(seconds)


def how_ended(what: str, among: object = "") -> ProcessEnd | None:
    """Return how an earlier process of this command ended in a block of `survived`, if one did."""
    journal = _kept.get("own")
    return journal.endings.get(_identify(what, among)) if journal else None


def _identify(what: str, among: object) -> str:
    """Return what tells a call from others, whatever the process; its first part is for people."""
    return re.sub(r" at 0x[0-9a-f]+", "", f"{what}\0{among!r}" if among else what)


@contextlib.contextmanager
def survived(what: str, rank: int = CALL, among: object = "") -> Iterator[None]:
    """Note that the process is in the block, so that it is known what ended it if it ends there.

    Args:
        what: the plugin and what is called, e.g. `simclr: views()`.
        rank: what is blamed first if it ends in several at once: `OBSERVER`, `CELL`, `CALL`, `LOAD` for what
            loads a plugin, or `RUN` for what takes as long as the run.
        among: tells this call from others of the name; each process must write it alike.

    Raises:
        BadPlugin: an earlier process of this command ended there, or was ended as it was not done in time.
    """
    journal = _kept.get("own")
    if journal is None:
        yield
        return
    which = _identify(what, among)
    if end := journal.endings.get(which):
        raise BadPlugin(f"{what} {end.did}. Report it to its authors, or leave it out.")
    journal.enter(rank, which)
    try:
        yield
    finally:
        journal.leave(rank, which)

"""What a process is at, noted where the process that waits for it can read it, and what ended earlier ones.

A process that a plugin ends (`os._exit`, a segmentation fault) can tell nobody. So it notes which plugin it
calls, and the next process of the command refuses that call.
"""

from __future__ import annotations

import contextlib
import mmap
import re
import struct
import threading
from collections.abc import Iterator

from bench.errors import BadPlugin

OBSERVER, CELL, CALL = range(3)  # what is blamed first for the end of a process


class Journal:
    """What a process is at, in memory that outlives it and is shared with the process that forked it."""

    _HEAD = struct.Struct("<?iI")  # is the command done, its exit status, the length of what follows
    _SIZE = 1 << 16

    def __init__(self) -> None:
        self.endings: dict[str, str] = {}  # how earlier processes ended, by what they were at
        self._memory = mmap.mmap(-1, self._SIZE)
        self._entries: list[tuple[int, str]] = []
        self._alone = threading.Lock()

    @property
    def status(self) -> int | None:
        """The exit status of the command, once it is done."""
        done, status, _ = self._HEAD.unpack_from(self._memory)
        return status if done else None

    @property
    def blamed(self) -> str:
        """What the process was at; empty where it was in no block of `survived`."""
        length = self._HEAD.unpack_from(self._memory)[2]
        return self._memory[self._HEAD.size : self._HEAD.size + length].decode(errors="replace")

    def clear(self) -> None:
        """Forget what the last process was at, for the next."""
        self._HEAD.pack_into(self._memory, 0, False, 0, 0)  # noqa: FBT003 - the struct's own

    def finish(self, status: int) -> None:
        """Note that the command is done."""
        self._HEAD.pack_into(self._memory, 0, True, status, 0)  # noqa: FBT003 - the struct's own

    def enter(self, rank: int, what: str) -> None:
        """Note that a block is entered."""
        with self._alone:
            self._entries.append((rank, what))
            self._write()

    def leave(self, rank: int, what: str) -> None:
        """Note that a block is left."""
        with self._alone:
            self._entries.remove((rank, what))
            self._write()

    def _write(self) -> None:
        """Write down the entry to be blamed: of the lowest rank, and of those the latest."""
        said = min(reversed(self._entries), key=lambda entry: entry[0])[1].encode() if self._entries else b""
        said = said[: self._SIZE - self._HEAD.size]
        self._memory[self._HEAD.size : self._HEAD.size + len(said)] = said
        self._HEAD.pack_into(self._memory, 0, False, 0, len(said))  # noqa: FBT003 - the struct's own


_kept: dict[str, Journal] = {}  # under "own" the one of this process, where another waits for it


def keep_journal(journal: Journal) -> None:
    """Have this process note in a journal what it is at."""
    _kept["own"] = journal


def finish_journal(status: int) -> None:
    """Note that the command of this process is done."""
    if journal := _kept.get("own"):
        journal.finish(status)


def how_ended(what: str, among: object = "") -> str | None:
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
        rank: `OBSERVER`, `CELL` or `CALL`: what is blamed first if it ends in several at once.
        among: tells this call from others of the name; each process must write it alike.

    Raises:
        BadPlugin: an earlier process of this command ended there.
    """
    journal = _kept.get("own")
    if journal is None:
        yield
        return
    which = _identify(what, among)
    if ended := journal.endings.get(which):
        raise BadPlugin(f"{what} ended its process ({ended}). Report it to its authors, or leave it out.")
    journal.enter(rank, which)
    try:
        yield
    finally:
        journal.leave(rank, which)

"""Leave when a signal asks for it, and first finish what must not be lost.

A scheduler says by SIGTERM, SIGUSR1 or SIGUSR2 that a process is to end soon. Such a signal is raised where
it finds the process, as Ctrl-C is; but in a block that `finishes` it is noted. Whoever is in the block looks
with `asked`, brings what it is at to an end and raises `AskedToLeave`; otherwise the end of the block does.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

SIGNALS = ("SIGTERM", "SIGUSR1", "SIGUSR2")  # Windows has the first


class AskedToLeave(KeyboardInterrupt):
    """A signal asks this process to end; like Ctrl-C, it is nothing that a cell fails by.

    Args:
        name: of the signal.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    @property
    def exit_status(self) -> int:
        """What a shell gives a process that the signal ended."""
        return 128 + int(getattr(signal, self.name))


class _State:
    """What the handlers share.

    Args:
        asked: the signal that came in a block that finishes; empty where none did.
        depth: how many such blocks there are round what runs now.
    """

    def __init__(self) -> None:
        self.asked, self.depth = "", 0

    def end(self) -> str:
        """End a block, and return the signal that came where it was the outermost."""
        self.depth -= 1
        if self.depth:
            return ""
        name, self.asked = self.asked, ""
        return name


_state = _State()


@contextlib.contextmanager
def leave_when_asked() -> Iterator[None]:
    """Take the signals while the block runs, unless somebody else has them already."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
    ours = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, _take)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def finishes() -> Iterator[None]:
    """Have a signal that comes in the block noted; the block looks with `asked` where it can end.

    Raises:
        AskedToLeave: one came, and the outermost such block is done.
    """
    _state.depth += 1
    try:
        yield
    except BaseException:
        _state.end()
        raise
    if name := _state.end():
        raise AskedToLeave(name)


def asked() -> str:
    """Return the signal that asks this process to leave, or nothing."""
    return _state.asked


def end_by(name: str) -> NoReturn:
    """End this process by a signal, as one that does not handle it ends: whoever started it sees which."""
    number = getattr(signal, name)
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    raise AssertionError


def _take(number: int, _frame: FrameType | None) -> None:
    name = signal.Signals(number).name
    if not _state.depth:
        raise AskedToLeave(name)
    _state.asked = name

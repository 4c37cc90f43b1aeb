"""A process that waits for a command in a child, so that a plugin that ends the child ends no more than that.

The child notes in a journal what it is at. Where it ends before its command is done, the next child takes
what that was for broken, and does the rest. So a plugin that calls `os._exit` while it is imported is one
that failed to load, and one that crashes in `views()` fails the cells that it is in.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

import click

from bench.system.journal import Journal, keep_journal
from bench.system.leaving import SIGNALS, end_by

FAILED = 1  # exit status
MOST = 20  # calls of one name that are refused: more are one that cannot be told from itself
# what ends the child by these ends this process, too
HANDED_ON = ("SIGINT", "SIGHUP", *SIGNALS)


def supervise() -> None:
    """Return in a child process; this process waits for it, and exits as its command does.

    Nothing may run in other threads yet. It does nothing where processes cannot fork (Windows).
    """
    if not hasattr(os, "fork"):
        return
    journal, relay = Journal(), _Relay()
    sys.stdout.flush()
    sys.stderr.flush()
    while True:
        journal.clear()
        watched, held = os.pipe()
        relay.begin()
        child = os.fork()
        if not child:
            relay.end()
            os.close(held)
            _end_with_parent(watched)
            keep_journal(journal)
            return
        os.close(watched)
        relay.send_to(child)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        relay.end()
        os.close(held)
        if journal.status is not None:
            sys.exit(journal.status)
        _note_ending(journal, code)


class _Relay:
    """Hands the signals that ask this process to end on to its child, those before it is there as well."""

    def __init__(self) -> None:
        self._child, self._early = 0, list[int]()
        self._before: dict[int, Any] = {}

    def begin(self) -> None:
        """Take the signals, unless they are ignored."""
        self._child, self._early = 0, []
        for name in HANDED_ON:
            number = getattr(signal, name)
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                self._before[number] = signal.signal(number, self._hand_on)

    def send_to(self, child: int) -> None:
        """Send signals to a child from now on, and those that have come already."""
        self._child = child
        for number in self._early:
            self._hand_on(number, None)

    def end(self) -> None:
        """Leave the signals to whoever had them before."""
        while self._before:
            signal.signal(*self._before.popitem())

    def _hand_on(self, number: int, _frame: FrameType | None) -> None:
        if not self._child:
            self._early.append(number)
            return
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            os.kill(self._child, number)


def _note_ending(journal: Journal, code: int) -> None:
    """Note what ended a child, for the next one; exit where that is not known, or was not a plugin."""
    name = signal.Signals(-code).name if code < 0 else f"exit status {code}"
    if name in HANDED_ON:
        end_by(name)
    what = journal.blamed.partition("\0")[0]
    before = sum(ended.partition("\0")[0] == what for ended in journal.endings)
    if not what or journal.blamed in journal.endings or before == MOST:
        said = f"a plugin or a library ended the process ({name}). See which there are with `bench plugins`."
        click.echo(f"Error: {said}", err=True)
        sys.exit(FAILED)
    click.echo(f"{what} ended the process ({name}). Going on without it.", err=True)
    journal.endings[journal.blamed] = name


def _end_with_parent(watched: int) -> None:
    """End this process when the one that waits for it is gone, whose end of the pipe is then closed."""

    def wait() -> None:
        os.read(watched, 1)
        os._exit(FAILED)

    threading.Thread(target=wait, daemon=True).start()

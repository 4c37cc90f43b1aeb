"""A process that waits for a command in a child, so that a plugin that ends the child ends no more than that.

The child notes in a journal what it is at. Where it ends before its command is done, the next child takes
what that was for broken, and does the rest. So a plugin that calls `os._exit` while it is imported is one
that failed to load, and one that crashes in `views()` fails the cells that it is in.

A plugin that is slow to load is named after two seconds. One that is not done in time, loading or in a call
while `--timeout` holds, is taken for broken, too: the child is ended.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
import time
from dataclasses import replace
from types import FrameType
from typing import Any

import click

from bench.system.journal import CALL, LOAD, Journal, Whereabouts, keep_journal
from bench.system.leaving import SIGNALS, end_by
from bench.system.process_end import ProcessEnd

FAILED = 1  # exit status
SLOW_S = 2.0  # from which on a plugin that is being loaded is named
LOAD_LIMIT_S = 60.0  # our choice: a library that was not read before takes some ten on a shared disk
LOOK_S = 0.25  # between looks at a child
DONE_S = 60.0  # for what plugins do when the command is done, such as sending what they have logged
SOON_S = 0.01  # for a child that has closed all it had to end
MOST = 20  # calls of one name that are refused: more are one that cannot be told from itself
# what ends the child by these ends this process, too
HANDED_ON = ("SIGINT", "SIGHUP", *SIGNALS)


def supervise(load_limit_s: float = LOAD_LIMIT_S) -> None:
    """Return in a child process; this process waits for it, and exits as its command does.

    Nothing may run in other threads yet. It does nothing where processes cannot fork (Windows).

    Args:
        load_limit_s: that a plugin may take to be loaded.
    """
    if not hasattr(os, "fork"):
        return
    journal, relay = Journal(), _Relay()
    sys.stdout.flush()
    sys.stderr.flush()
    while True:
        journal.clear()
        (watched, held), (lived, living) = os.pipe(), os.pipe()
        relay.begin()
        child = os.fork()
        if not child:
            relay.end()
            os.close(held)
            os.close(lived)  # and not `living`, which its end closes
            _end_with_parent(watched)
            keep_journal(journal)
            return
        os.close(watched)
        os.close(living)
        relay.send_to(child)
        watch = _Watch(journal, load_limit_s)
        end = _await(child, lived, watch)
        relay.end()
        os.close(held)
        os.close(lived)
        if journal.status is not None:
            sys.exit(journal.status)
        _note_ending(journal, end, watch.stuck_at or journal.look())


def _await(child: int, lived: int, watch: _Watch) -> ProcessEnd:
    """Wait for the end of a child, and end it where what it is at is not done in time.

    Args:
        child: its number.
        lived: the end of a pipe of which the child has the other one.
        watch: over what it is at.
    """
    stuck: float | None = None
    is_there = True
    while True:
        if is_there:
            is_there = not select.select([lived], [], [], LOOK_S)[0]
        else:  # but for a process that it has left behind
            time.sleep(SOON_S)
        number, status = os.waitpid(child, os.WNOHANG)
        if number:
            end = ProcessEnd.of(os.waitstatus_to_exitcode(status))
            return replace(end, limit_s=stuck) if stuck else end
        if not stuck and (stuck := watch.look()):
            os.kill(child, signal.SIGKILL)


class _Watch:
    """Looks at what a child is at, and names a plugin that is slow to load.

    Args:
        journal: of the child.
        load_limit_s: that a plugin may take to be loaded.
    """

    def __init__(self, journal: Journal, load_limit_s: float) -> None:
        self.journal, self.load_limit_s = journal, load_limit_s
        self.stuck_at: Whereabouts | None = None
        self._named: set[tuple[str, float]] = set()
        self._done = 0.0

    def look(self) -> float | None:
        """Return the limit that what the child is at has passed, if it has."""
        if self.journal.status is not None:
            return self._look_at_end()
        at = self.journal.look()
        if not at.what or at.rank not in (CALL, LOAD):
            return None
        limit = self.load_limit_s if at.rank == LOAD else at.call_limit_s
        took = time.monotonic() - at.since
        if at.rank == LOAD and took > SLOW_S and (at.what, at.since) not in self._named:
            self._named.add((at.what, at.since))
            plugin = at.name.partition(": ")[0]
            click.echo(
                f"loading {at.name} ... It is given up after {limit:g} s. "
                f"Without it: bench -p no:{plugin} ..., or BENCH_DISABLE={plugin}",
                err=True,
            )
        if not limit or took <= limit:
            return None
        self.stuck_at = at
        return limit

    def _look_at_end(self) -> float | None:
        """Return the limit where the child has done its command, and does not end."""
        self._done = self._done or time.monotonic()
        if time.monotonic() - self._done < DONE_S:
            return None
        click.echo(
            f"A plugin keeps the process, {DONE_S:g} s after the command was done. It is ended.", err=True
        )
        return DONE_S


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


def _note_ending(journal: Journal, end: ProcessEnd, at: Whereabouts) -> None:
    """Note what ended a child, for the next one; exit where that is not known, or was not a plugin."""
    if end.signal in HANDED_ON:
        end_by(end.signal)
    before = sum(ended.partition("\0")[0] == at.name for ended in journal.endings)
    if not at.what or at.what in journal.endings or before == MOST:
        said = f"a plugin or a library ended the process ({end}). See which there are with `bench plugins`."
        click.echo(f"Error: {said}", err=True)
        sys.exit(FAILED)
    did = f"ended the process ({end})" if end.limit_s is None else end.did
    click.echo(f"{at.name} {did}. Going on without it.", err=True)
    journal.endings[at.what] = end


def _end_with_parent(watched: int) -> None:
    """End this process when the one that waits for it is gone, whose end of the pipe is then closed."""

    def wait() -> None:
        os.read(watched, 1)
        os._exit(FAILED)

    threading.Thread(target=wait, daemon=True).start()

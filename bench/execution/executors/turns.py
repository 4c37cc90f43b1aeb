"""Whose turn it is: groups of cells, one after the other, those that another process is at last."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from bench.contracts.executor import CellRunner

log = logging.getLogger("bench")

LOOK_S = 1.0  # between looks at groups that are all claimed by others

Group = Sequence[Any]


class Turns:
    """Groups that are to be made, for any number of threads: each is given out once, and claimed meanwhile.

    One whose backbone another process has claimed waits until nothing else is left. That is then said.

    Args:
        groups: the cells of one backbone each.
        runner: that claims.
    """

    def __init__(self, groups: Sequence[Group], runner: CellRunner) -> None:
        self.runner = runner
        self._waiting = deque(groups)
        self._refused = 0  # groups in turn that others had
        self._told: set[str] = set()  # for what it is waited
        self._alone = threading.Lock()

    @contextlib.contextmanager
    def take(self, is_over: Callable[[], bool] = lambda: False) -> Iterator[Group | None]:
        """Give the next group for the length of a block, or none where all are given out.

        Args:
            is_over: nothing more is to be begun.
        """
        while (group := self._next()) is not None and not is_over():
            with self.runner.claim(group[0]) as ours:
                if ours or all(map(self.runner.find_record, group)):
                    self._refused = 0
                    yield group
                    return
            self._postpone(group)
        yield None

    def _next(self) -> Group | None:
        with self._alone:
            return self._waiting.popleft() if self._waiting else None

    def _postpone(self, group: Group) -> None:
        with self._alone:
            self._waiting.append(group)
            self._refused += 1
            is_stuck = self._refused >= len(self._waiting)
        if is_stuck:
            self._tell(self.runner.describe_claim(group[0]))
            time.sleep(LOOK_S)

    def _tell(self, said: str) -> None:
        """Say once that it is waited, and for whom."""
        with self._alone:
            is_new = said not in self._told
            self._told.add(said)
        if is_new:
            log.warning("waiting for %s", said)

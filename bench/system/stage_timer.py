"""Where the time of a whole run goes: the seconds of each stage."""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterator

from tabulate import tabulate

HARNESS = "harness"  # time in no stage


class StageTimer:
    """Counts the seconds of stages from now on, each without the stages inside it.

    Args:
        clock: returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._since = clock, clock()
        self._open = [HARNESS]  # stages, the innermost last
        self._seconds: dict[str, float] = defaultdict(float)

    @contextlib.contextmanager
    def time(self, stage: str) -> Iterator[None]:
        """Count the time of a block for `stage`."""
        self._count()
        self._open.append(stage)
        try:
            yield
        finally:
            self._count()
            self._open.pop()

    def seconds(self) -> dict[str, float]:
        """Return the seconds of each stage up to now; their sum is all the time there was."""
        self._count()
        return dict(self._seconds)

    def table(self) -> str:
        """Return the stages, the longest first, with their seconds and shares."""
        longest_first = sorted(self.seconds().items(), key=lambda item: -item[1])
        total = sum(seconds for _, seconds in longest_first)
        rows = [
            (stage, f"{seconds:.2f}", f"{100 * seconds / max(1e-9, total):.0f} %")
            for stage, seconds in longest_first
        ]
        rows.append(("all", f"{total:.2f}", "100 %"))
        align = ("left", "right", "right")
        return tabulate(rows, ("stage of the run", "s", "share"), colalign=align, disable_numparse=True)

    def _count(self) -> None:
        now = self._clock()
        self._seconds[self._open[-1]] += now - self._since
        self._since = now

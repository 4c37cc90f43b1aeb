"""Where the time of a whole run goes: the seconds of each of its stages."""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterator

from tabulate import tabulate

HARNESS = "harness"  # what is in no stage


class StageTimer:
    """The seconds of stages, each without the stages inside it, from now on.

    Args:
        clock: in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._since, self._inside = clock, clock(), [HARNESS]
        self._seconds: dict[str, float] = defaultdict(float)

    @contextlib.contextmanager
    def time(self, stage: str) -> Iterator[None]:
        """Count the time of a block for `stage`."""
        self._book()
        self._inside.append(stage)
        try:
            yield
        finally:
            self._book()
            self._inside.pop()

    def seconds(self) -> dict[str, float]:
        """Return the seconds of each stage up to now; their sum is all there were."""
        self._book()
        return dict(self._seconds)

    def table(self) -> str:
        """Return the stages, the longest first, with their seconds and shares."""
        spent = sorted(self.seconds().items(), key=lambda item: -item[1])
        total = sum(seconds for _, seconds in spent)
        rows = [
            (stage, f"{seconds:.2f}", f"{100 * seconds / max(1e-9, total):.0f} %") for stage, seconds in spent
        ]
        rows.append(("all", f"{total:.2f}", "100 %"))
        align = ("left", "right", "right")
        return tabulate(rows, ("stage of the run", "s", "share"), colalign=align, disable_numparse=True)

    def _book(self) -> None:
        now = self._clock()
        self._seconds[self._inside[-1]] += now - self._since
        self._since = now

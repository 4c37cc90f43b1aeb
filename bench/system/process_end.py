"""How a process ended, or was ended, that should not have."""

from __future__ import annotations

import contextlib
import signal
from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class ProcessEnd:
    """The end of a process in the middle of its work.

    Args:
        exit_code: that it left with; none where a signal ended it.
        signal: that ended it, such as `SIGSEGV`; empty where it left by itself.
        limit_s: it was ended because it was not done after so many seconds; none where it was not.
        stage: of the cell that it was at; empty where that is not known.
        trace: the lines of Python that it was at, as far as they are known.
    """

    exit_code: int | None = None
    signal: str = ""
    limit_s: float | None = None
    stage: str = ""
    trace: str = ""

    @classmethod
    def of(cls, code: int | None) -> ProcessEnd:
        """Return the end of a process by the code of `subprocess` and `multiprocessing`."""
        if code is None or code >= 0:
            return cls(exit_code=code)
        with contextlib.suppress(ValueError):  # a signal that Python has no name for
            return cls(signal=signal.Signals(-code).name)
        return cls(signal=f"signal {-code}")

    @property
    def error_type(self) -> str:
        """What a record calls such a failure."""
        return "WorkerDied" if self.limit_s is None else "TimedOut"

    def __str__(self) -> str:
        if self.limit_s is not None:
            return f"not done after {self.limit_s:g} s"
        return self.signal or f"exit status {self.exit_code}"

    @property
    def did(self) -> str:
        """What happened, after the name of what it was at."""
        return f"ended its process ({self})" if self.limit_s is None else f"was {self}"

    def at(self, stage: str) -> ProcessEnd:
        """Return the end with the stage of the cell that it was at."""
        return replace(self, stage=stage)

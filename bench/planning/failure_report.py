"""The report of an error, as a cell and its record have it."""

from __future__ import annotations

import traceback
from dataclasses import dataclass

from bench.errors import BenchError, one_line

TRACEBACK_LINES = 12


@dataclass(frozen=True, kw_only=True)
class FailureReport:
    """An error as text: the exception itself would hold a network and its data in memory.

    Args:
        stage: `plan`, `data`, `pretrain`, `features`, `evaluate` or `process`.
        type: of the exception.
        message: of the exception.
        reason: one line, for a table.
        traceback: its end.
    """

    stage: str
    type: str
    message: str
    reason: str
    traceback: str = ""

    @classmethod
    def of(cls, stage: str, error: BaseException) -> FailureReport:
        """Return the report of an error that was raised in a stage."""
        own = isinstance(error, BenchError)  # whose message says all
        lines = "".join(traceback.format_exception(error)).splitlines()
        return cls(
            stage=stage,
            type=type(error).__name__,
            message=str(error),
            reason=" ".join(str(error).split()).removesuffix(":") if own else one_line(error),
            traceback="\n".join(lines[-TRACEBACK_LINES:]),
        )

"""The report of an error, as a cell and its record have it."""

from __future__ import annotations

import traceback
from dataclasses import dataclass

from bench.errors import LINE, MESSAGE, BenchError, as_line, message_of, one_line
from bench.plain_text import cut

TRACEBACK_LINES = 12


@dataclass(frozen=True, kw_only=True)
class FailureReport:
    """An error as text: the exception itself would hold a network and its data in memory.

    Args:
        stage: `plan`, `data`, `pretrain`, `features` or `evaluate`; `process` where that is not known of a
            process that ended.
        type: of the exception.
        message: of the exception; of a long one the start and the end.
        reason: one line, for a table.
        traceback: its end.
        exit_code: of a process that ended with one.
        signal: that ended a process.
    """

    stage: str
    type: str
    message: str
    reason: str
    traceback: str = ""
    exit_code: int | None = None
    signal: str | None = None

    @classmethod
    def of(cls, stage: str, error: BaseException) -> FailureReport:
        """Return the report of an error that was raised in a stage."""
        own = isinstance(error, BenchError)  # whose message says all
        return cls(
            stage=stage,
            type=type(error).__name__,
            message=cut(message_of(error), MESSAGE),
            reason=as_line(message_of(error)) if own else one_line(error),
            traceback=_end_of_traceback(error),
        )


def _end_of_traceback(error: BaseException) -> str:
    """Return the last lines of a traceback, of which the message is one, however long it is."""
    *frames, _ = traceback.format_exception(error)
    lines = [cut(line, LINE) for line in "".join(frames).splitlines()[1 - TRACEBACK_LINES :]]
    return "\n".join([*lines, one_line(error)])

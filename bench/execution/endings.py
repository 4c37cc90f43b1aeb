"""The words for a process that ended in the middle of its work, and for what to do about it."""

from __future__ import annotations

from bench.execution.memory_advice import advise_room
from bench.planning.cells import Cell
from bench.planning.failure_report import FailureReport
from bench.system.process_end import ProcessEnd

UNKNOWN = "process"  # the stage of what ended at no stage that is known
OUT_OF_MEMORY = "SIGKILL"  # by which Linux ends a process where no memory is left
BROKEN = "A plugin or a library ended it: report it to its authors, or leave it out."
STUCK = "Use a longer --timeout; or report it to the authors of the plugin, or leave it out."


def explain_end(end: ProcessEnd) -> str:
    """Return why a cell failed whose process ended, or was ended as it was not done in time."""
    place = f" in the stage {end.stage}" if end.stage else ""
    if end.limit_s is not None:
        return f"it was {end}{place}, and its process was ended."
    return f"its process ended{place} ({end})."


def report_end(cell: Cell, reason: str, error_type: str, end: ProcessEnd) -> FailureReport:
    """Return the report of a cell whose process ended, with what to do about it.

    Args:
        cell: that it was at.
        reason: one line.
        error_type: what kind of error it was.
        end: how it ended.
    """
    stage = end.stage or UNKNOWN
    if end.limit_s is not None:
        advice = STUCK
    elif end.signal == OUT_OF_MEMORY:
        advice = f"It was killed, or memory ran out. {advise_room(stage, cell)}"
    else:
        advice = BROKEN
    return FailureReport(
        stage=stage,
        type=error_type,
        message=reason,
        reason=f"{reason} {advice}",
        traceback=end.trace,
        exit_code=end.exit_code,
        signal=end.signal or None,
    )

"""The report of an error, and the boundary between a cell and the harness."""

from __future__ import annotations

import contextlib
import logging
import traceback
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from bench.errors import BenchError
from bench.planning.cells import Cell

TRACEBACK_LINES = 12
log = logging.getLogger("bench")


@dataclass(frozen=True, kw_only=True)
class FailureReport:
    """An error as text: the exception itself would hold a network and its data in memory.

    Args:
        stage: `data`, `pretrain`, `features`, `evaluate` or `process`.
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
    def of(cls, stage: str, error: Exception) -> FailureReport:
        """Return the report of an error that was raised in a stage."""
        kind = "" if isinstance(error, BenchError) else f"{type(error).__name__}: "
        lines = "".join(traceback.format_exception(error)).splitlines()
        return cls(
            stage=stage,
            type=type(error).__name__,
            message=str(error),
            reason=" ".join(f"{kind}{error}".split()),
            traceback="\n".join(lines[-TRACEBACK_LINES:]),
        )


class StageFailed(Exception):
    """A stage of a cell failed; carries the report from the stage to the record."""

    def __init__(self, report: FailureReport) -> None:
        super().__init__(report.reason)
        self.report = report


@contextlib.contextmanager
def in_stage(name: str) -> Iterator[None]:
    """Turn what is raised in the block into StageFailed: the boundary between a cell and the harness."""
    try:
        yield
    except StageFailed:
        raise
    except Exception as error:
        raise StageFailed(FailureReport.of(name, error)) from error


def failure_fields(cell: Cell, report: FailureReport) -> dict[str, Any]:
    """Return what a record says of a cell that failed, and log it in one line."""
    title = f"{cell.training_title}, {cell.evaluator.name}"
    log.error("%s: %s failed. %s", title, report.stage, report.reason)
    error = asdict(report)
    return {"status": "failed", "reason": error.pop("reason"), "error": error}

"""The boundary between a cell and the harness."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

from bench.boundary import is_from_user
from bench.errors import ClaimLost, as_line, message_of
from bench.execution.memory_advice import advise_room
from bench.planning.cells import Cell
from bench.planning.failure_report import FailureReport
from bench.storage.durable import MORE_ROOM
from bench.system.disk import why_no_room
from bench.system.memory import is_out_of_memory
from bench.system.process_state import kept_state

log = logging.getLogger("bench")


class StageFailed(Exception):
    """A stage of a cell failed; carries the report from the stage to the record."""

    def __init__(self, report: FailureReport) -> None:
        super().__init__(report.reason)
        self.report = report


@contextlib.contextmanager
def in_stage(name: str, cell: Cell | None = None) -> Iterator[None]:
    """Turn what is raised in the block into StageFailed, but for Ctrl-C and a claim that was lost.

    Args:
        name: of the stage.
        cell: that it is of; where memory runs out, its numbers say what to set.
    """
    changed: Sequence[str] = ()
    try:
        with kept_state(f"{cell.training_title if cell else 'a data set'}, {name}: a plugin") as changed:
            yield
    except (StageFailed, ClaimLost):
        raise
    except BaseException as error:
        if is_from_user(error):
            raise
        report = FailureReport.of(name, error)
        if changed:
            said = as_line(f"{report.reason} (A plugin had changed {', '.join(changed)}.)")
            report = replace(report, reason=said)
        if is_out_of_memory(error):
            said = as_line(message_of(error)).partition(". ")[0] or type(error).__name__
            report = replace(report, reason=f"out of memory in {name} ({said}). {advise_room(name, cell)}")
        elif said := why_no_room(error):
            report = replace(report, reason=f"no room on the disk in {name} ({said}). {MORE_ROOM}")
        raise StageFailed(report) from error


def failure_fields(cell: Cell, report: FailureReport) -> dict[str, Any]:
    """Return what a record says of a cell that failed, and log it in one line."""
    title = f"{cell.training_title}, {cell.evaluator.name}"
    log.error("%s: %s failed. %s", title, report.stage, report.reason)
    error = {name: value for name, value in asdict(report).items() if value is not None}
    return {"status": "failed", "reason": error.pop("reason"), "error": error}

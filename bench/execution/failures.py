"""The boundary between a cell and the harness."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

from bench.boundary import is_from_user
from bench.errors import ClaimLost
from bench.planning.cells import Cell
from bench.planning.failure_report import FailureReport
from bench.system.memory import is_out_of_memory

MORE_ROOM = {  # what needs less memory in a stage
    "data": "Use fewer --jobs, or --packed.",
    "pretrain": "Set train.chunk_size to the images that fit, or use a smaller --batch-size or fewer --jobs.",
    "features": "Use a smaller --image-size or fewer --jobs.",
    "evaluate": "Use fewer --jobs, a smaller --label-frac, or --device cpu.",
}

log = logging.getLogger("bench")


class StageFailed(Exception):
    """A stage of a cell failed; carries the report from the stage to the record."""

    def __init__(self, report: FailureReport) -> None:
        super().__init__(report.reason)
        self.report = report


@contextlib.contextmanager
def in_stage(name: str) -> Iterator[None]:
    """Turn what is raised in the block into StageFailed, but for Ctrl-C and a claim that was lost."""
    try:
        yield
    except (StageFailed, ClaimLost):
        raise
    except BaseException as error:
        if is_from_user(error):
            raise
        report = FailureReport.of(name, error)
        if is_out_of_memory(error):
            said = " ".join(str(error).split()).partition(". ")[0]
            report = replace(report, reason=f"out of memory in {name} ({said}). {MORE_ROOM[name]}")
        raise StageFailed(report) from error


def failure_fields(cell: Cell, report: FailureReport) -> dict[str, Any]:
    """Return what a record says of a cell that failed, and log it in one line."""
    title = f"{cell.training_title}, {cell.evaluator.name}"
    log.error("%s: %s failed. %s", title, report.stage, report.reason)
    error = asdict(report)
    return {"status": "failed", "reason": error.pop("reason"), "error": error}

"""What becomes of a cell: its record before anything is known, and what is said of a failure."""

from __future__ import annotations

import contextlib
import logging
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.errors import BenchError
from bench.planning.cells import Cell, Part
from bench.storage.records import SCHEMA, Record

TRACEBACK_LINES = 12

log = logging.getLogger("bench")


@dataclass(frozen=True, kw_only=True)
class Breakdown:
    """What is kept of an error: text, for an exception would hold a network and its data in memory.

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
    def of(cls, stage: str, error: Exception) -> Breakdown:
        """Return what is kept of `error`."""
        kind = "" if isinstance(error, BenchError) else f"{type(error).__name__}: "
        lines = "".join(traceback.format_exception(error)).splitlines()
        return cls(
            stage=stage,
            type=type(error).__name__,
            message=str(error),
            reason=" ".join(f"{kind}{error}".split()),
            traceback="\n".join(lines[-TRACEBACK_LINES:]),
        )


class Failed(Exception):
    """A stage of a cell failed; carries what happened from the stage to the record."""

    def __init__(self, breakdown: Breakdown) -> None:
        super().__init__(breakdown.reason)
        self.breakdown = breakdown


@contextlib.contextmanager
def stage(name: str) -> Iterator[None]:
    """Say in which stage an error was raised: the boundary between a cell and the harness."""
    try:
        yield
    except Failed:
        raise
    except Exception as error:
        raise Failed(Breakdown.of(name, error)) from error


def blank_record(cell: Cell, origin: Mapping[str, Any]) -> Record:
    """Return the record of a cell before anything is known of its outcome."""
    parts = ("method", "backbone", "dataset", "eval_dataset", "evaluator")
    return {
        "schema": SCHEMA,
        "keys": asdict(cell.keys),
        "cell": cell.names,
        "settings": dict(cell.settings),
        "config": {
            **{role: _described(getattr(cell, role)) for role in parts},
            "training": cell.training.told() if cell.training else {"image_size": cell.image_size},
            "views": [asdict(view) for view in cell.views],
        },
        "status": "",
        "reason": None,
        "metrics": {},
        "headline": None,
        "per_class": {},
        "classes": [],
        "notes": [],
        "protocol": {},
        "cost": {},
        "provenance": dict(origin),
        "error": None,
    }


def cost(passes: Sequence[Mapping[str, Any]], evaluate_s: float, peak_mb: float) -> dict[str, Any]:
    """Return what a record says a cell cost by stage, whether a stage was made now or in an earlier run.

    Args:
        passes: what the features' artifacts say of each split; older ones do not say how many images.
        evaluate_s: seconds in the evaluator.
        peak_mb: of memory.
    """
    trained, spent = passes[0]["backbone"], sum(part["seconds"] for part in passes)
    told = all("images" in part for part in passes)
    return {
        "seconds": {"pretrain": trained["seconds"], "features": spent, "evaluate": evaluate_s},
        **{name: trained[name] for name in ("images_per_s", "params", "flops")},
        "features_images_per_s": sum(part["images"] for part in passes) / spent if told else None,
        "peak_mb": peak_mb,
    }


def failure(cell: Cell, breakdown: Breakdown) -> dict[str, Any]:
    """Return what a record says of a cell that failed, and log its one line."""
    what = f"{cell.trained}, {cell.evaluator.name}"
    log.error("%s: %s failed. %s", what, breakdown.stage, breakdown.reason)
    told = asdict(breakdown)
    return {"status": "failed", "reason": told.pop("reason"), "error": told}


def _described(part: Part) -> dict[str, Any]:
    """Return what a key hashed of a plugin beside its name, flat."""
    told = {name: value for name, value in part.identity.items() if name not in ("name", "config")}
    return {**part.identity["config"], **told}

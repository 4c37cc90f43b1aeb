"""What a run that is logged is made of, and what it left."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.api import Run
from bench.storage.records import Record

EPOCHS, STEPS = 3, 2  # of a run, and of an epoch
GRID = ("--method", "simclr", "--backbone", "test_resnet", "--eval", "knn,linear", "--label-frac", "0.5,1",
        "--batch-size", "24", "--image-size", "16", "--epochs", str(EPOCHS), "--executor", "in-process",
        "--set", "dataset.max_train=48", "--set", "simclr.hidden_dim=32")  # fmt: skip


RUN = Run(
    key="0123456789abcdef", title="simclr on digits", method="simclr", backbone="test_resnet",
    dataset="digits", seed=0, settings={}, training={}, results="results", folder="results",
    epochs=4, steps=400,
)  # fmt: skip


def resume(run: Run, epochs: int) -> Run:
    """Return a run that goes on after some epochs."""
    return replace(run, resumed_epoch=epochs)


def make_record(status: str = "ok", **cell: Any) -> Record:
    """Return the record of a cell, with what differs from the usual one."""
    usual = {"evaluator": "knn", "dataset": "digits", "eval_dataset": "digits", "label_frac": 1.0}
    metrics = {"top1": {"value": 50.0}} if status == "ok" else {}
    return {"status": status, "reason": "it broke", "cell": {**usual, **cell}, "metrics": metrics}


def log_failures_and_one_success(logger: Any) -> None:
    """Log that cells of one evaluator failed at two label fractions, and that one of them is made later."""
    for status, share in (("failed", 0.01), ("failed", 0.1), ("ok", 0.1)):
        logger.log_record(RUN, make_record(status, label_frac=share))
    logger.close()


@dataclass(frozen=True)
class Logged:
    """What a run left: its records, of one backbone, and the folder."""

    folder: Path
    records: list[Record]

    @property
    def key(self) -> str:
        """Of the backbone."""
        return str(self.records[0]["keys"]["backbone"])

    def value(self, evaluator: str, share: float) -> float:
        """Return the top-1 accuracy of a score."""
        (found,) = (
            record["metrics"]["top1"]["value"]
            for record in self.records
            if (record["cell"]["evaluator"], record["cell"]["label_frac"]) == (evaluator, share)
        )
        return float(found)

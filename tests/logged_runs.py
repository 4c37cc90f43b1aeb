"""What a run that is logged is made of, and what it left."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.storage.records import Record

EPOCHS, STEPS = 3, 2  # of a run, and of an epoch
GRID = ("--method", "simclr", "--backbone", "test_resnet", "--eval", "knn,linear", "--label-frac", "0.5,1",
        "--batch-size", "24", "--image-size", "16", "--epochs", str(EPOCHS), "--executor", "in-process",
        "--set", "dataset.max_train=48", "--set", "simclr.hidden_dim=32")  # fmt: skip


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

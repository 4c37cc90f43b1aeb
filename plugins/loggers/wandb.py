"""Weights & Biases: a run for each backbone, whose id is its key.

Code followed: wandb.sdk.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from bench.api import Logger, Record, Run, list_numbers, list_scores, list_settings, name_cell, setting

from .packages import refuse_missing
from .status import describe_status

MODES = ("online", "offline", "shared")
STEP, EPOCH = "step", "epoch"  # the axes of curves


class WeightsAndBiases(Logger):
    """Log a run: `train` by steps, `epoch` by epochs, views, scores in its summary."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        project: str = setting("bench", "of the runs")
        entity: str | None = setting(None, "whose project it is; none: your own")
        mode: str | None = setting(
            None, "none: as WANDB_MODE says; offline: `wandb sync` sends it later", choices=MODES
        )
        folder: str | None = setting(None, "of its files; none: the results")

    reference = "https://docs.wandb.ai"
    patience = 60.0  # seconds for what is still to be sent

    def __init__(self, config: Any, results: Path) -> None:
        super().__init__(config, results)
        self.folder = Path(config.folder) if config.folder else results
        self._key = ""
        self._run: Any = None

    @classmethod
    def check(cls, config: Any) -> None:
        """Refuse where wandb is not installed."""
        refuse_missing("wandb", "wandb")

    def start(self, run: Run) -> None:
        """Open a run, or the one of its key that is there."""
        self._open(run)

    def show_views(self, run: Run, picture: bytes) -> None:
        """Show images and their views."""
        import wandb

        self._open(run).log({"views": wandb.Image(Image.open(io.BytesIO(picture)))})

    def log_step(self, run: Run, step: int, metrics: Mapping[str, float]) -> None:
        """Log the terms of the loss."""
        self._open(run).log({f"train/{name}": value for name, value in metrics.items()} | {STEP: step})

    def log_epoch(self, run: Run, epoch: int, metrics: Mapping[str, Any]) -> None:
        """Log the means of an epoch."""
        numbers = {f"epoch/{name}": value for name, value in list_numbers(metrics).items()}
        self._open(run).log(numbers | {EPOCH: epoch})

    def end(self, run: Run, status: str) -> None:
        """Note how the training ended."""
        self._open(run).summary["status"] = status

    def log_record(self, run: Run, record: Record) -> None:
        """Put the metrics of a score into the summary, and its status, or why there is none."""
        summary = self._open(run).summary
        if record["status"] == "ok":
            summary.update({f"scores/{name}": value for name, value in list_scores(record).items()})
        summary[f"scores/{name_cell(record)}/status"] = describe_status(record)

    def close(self) -> None:
        """End the run that is open, and wait until it is sent."""
        if self._run is not None:
            self._run.finish()
        self._key, self._run = "", None

    def _open(self, run: Run) -> Any:
        if run.key != self._key:
            import wandb

            self.close()
            self.folder.mkdir(parents=True, exist_ok=True)
            settings = wandb.Settings(silent=True, console="off")
            opened: Any = wandb.init(
                project=self.config.project, entity=self.config.entity, mode=self.config.mode,
                dir=str(self.folder), id=run.key, name=run.title, resume="allow", reinit="create_new",
                config=list_settings(run), settings=settings,
            )  # fmt: skip
            opened.define_metric("train/*", step_metric=STEP)
            opened.define_metric("epoch/*", step_metric=EPOCH)
            self._key, self._run = run.key, opened
        return self._run

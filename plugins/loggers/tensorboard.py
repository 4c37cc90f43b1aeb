"""TensorBoard: a folder of event files for each backbone.

Code followed: torch.utils.tensorboard.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench.api import Logger, Record, Run, list_numbers, list_scores, list_settings, name_cell, setting

from .packages import refuse_missing
from .status import describe_status


class TensorBoard(Logger):
    """Write event files: `train` by steps, `epoch` and `scores` by epochs, views, settings."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        folder: str | None = setting(None, "of the event files; none: tensorboard in the results")

    reference = "https://www.tensorflow.org/tensorboard"

    def __init__(self, config: Any, results: Path) -> None:
        super().__init__(config, results)
        self.folder = Path(config.folder) if config.folder else results / "tensorboard"
        self._writers: dict[str, Any] = {}

    @classmethod
    def check(cls, config: Any) -> None:
        """Refuse where tensorboard is not installed."""
        refuse_missing("tensorboard", "tensorboard")

    def start(self, run: Run) -> None:
        """Open the folder of a run; of what an ended process wrote, that of later epochs is left out.

        In the epoch that it goes on within it may go on at any step: some may be there twice, but none is
        lost.
        """
        self._close(run.key)
        later = (run.resumed_epoch + 1) * run.steps // run.epochs + 1 if run.resumed_epoch else None
        writer = self._open(run, purge_step=later)
        rows = [f"| {name} | `{value}` |" for name, value in list_settings(run).items()]
        writer.add_text("settings", "\n".join(["| setting | value |", "|---|---|", *rows]))

    def show_views(self, run: Run, picture: bytes) -> None:
        """Show images and their views."""
        pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"))
        self._open(run).add_image("views", pixels, dataformats="HWC")

    def log_step(self, run: Run, step: int, metrics: Mapping[str, float]) -> None:
        """Log the terms of the loss."""
        self._log(run, "train", metrics, step)

    def log_epoch(self, run: Run, epoch: int, metrics: Mapping[str, Any]) -> None:
        """Log the means of an epoch, and have them seen."""
        self._log(run, "epoch", list_numbers(metrics), epoch)
        self._open(run).flush()

    def end(self, run: Run, status: str) -> None:
        """Note how the training ended."""
        self._open(run).add_text("status", status)

    def log_record(self, run: Run, record: Record) -> None:
        """Log the metrics of a score, and its status, or why there is none."""
        if record["status"] == "ok":
            self._log(run, "scores", list_scores(record), run.epochs)
        self._open(run).add_text(f"scores/{name_cell(record)}/status", describe_status(record))
        self._open(run).flush()

    def close(self) -> None:
        """Close the files."""
        for key in list(self._writers):
            self._close(key)

    def _log(self, run: Run, group: str, numbers: Mapping[str, float], step: int) -> None:
        writer = self._open(run)
        for name, value in numbers.items():
            writer.add_scalar(f"{group}/{name}", value, step)

    def _open(self, run: Run, purge_step: int | None = None) -> Any:
        from torch.utils.tensorboard import SummaryWriter

        if run.key not in self._writers:
            self.close()  # one run at a time is open
            name = re.sub(r"[^\w.=-]+", "-", run.title).strip("-")
            folder = self.folder / f"{name[:100]}-{run.key[:8]}"
            self._writers[run.key] = SummaryWriter(str(folder), purge_step=purge_step)
        return self._writers[run.key]

    def _close(self, key: str) -> None:
        if writer := self._writers.pop(key, None):
            writer.close()

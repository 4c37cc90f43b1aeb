"""MLflow: a run for each backbone, found again by a tag that has its key.

Code followed: mlflow.MlflowClient, which has no state of its own beside the run's.
"""

from __future__ import annotations

import io
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench.api import Logger, Record, Run, list_numbers, list_scores, list_settings, name_cell, setting

from .packages import refuse_missing
from .status import describe_status

KEY = "bench_key"  # the tag that tells a run
AT_ONCE = 100  # parameters in one call, which MLflow limits
LONGEST = 500  # letters of a parameter: as much as older servers take
STATUS = {"ok": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}


class MLflow(Logger):
    """Log a run: `train` by steps, `epoch` by epochs, views, scores."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        uri: str | None = setting(
            None, "of the server; none: MLFLOW_TRACKING_URI, or mlflow.db in the results"
        )
        experiment: str = setting("bench", "of the runs")

    reference = "https://mlflow.org/docs/latest/ml/tracking"
    patience = 30.0  # seconds for what is still to be sent

    def __init__(self, config: Any, results: Path) -> None:
        super().__init__(config, results)
        from mlflow import MlflowClient
        from mlflow.tracking import is_tracking_uri_set

        self._is_own = not config.uri and not is_tracking_uri_set()
        if self._is_own:
            results.mkdir(parents=True, exist_ok=True)
        own = f"sqlite:///{(results / 'mlflow.db').absolute()}" if self._is_own else None
        self.client = MlflowClient(config.uri or own)
        self._ids: dict[str, str] = {}

    @classmethod
    def check(cls, config: Any) -> None:
        """Refuse where mlflow is not installed."""
        refuse_missing("mlflow", "mlflow")

    def start(self, run: Run) -> None:
        """Open a run, or the one of its key that is there."""
        self.client.update_run(self._find(run), status="RUNNING")

    def show_views(self, run: Run, picture: bytes) -> None:
        """Keep a picture of images and their views as an artifact."""
        pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"))
        self.client.log_image(self._find(run), pixels, "views.png")

    def log_step(self, run: Run, step: int, metrics: Mapping[str, float]) -> None:
        """Log the terms of the loss."""
        self._log(run, "train", metrics, step)

    def log_epoch(self, run: Run, epoch: int, metrics: Mapping[str, Any]) -> None:
        """Log the means of an epoch."""
        self._log(run, "epoch", list_numbers(metrics), epoch)

    def end(self, run: Run, status: str) -> None:
        """Note how the training ended."""
        self.client.set_terminated(self._find(run), STATUS[status])

    def log_record(self, run: Run, record: Record) -> None:
        """Log the metrics of a score, and its status, or why there is none."""
        if record["status"] == "ok":
            self._log(run, "scores", list_scores(record), run.epochs)
        tag = f"scores/{_spell(name_cell(record))}/status"
        self.client.set_tag(self._find(run), tag, describe_status(record))

    def _log(self, run: Run, group: str, numbers: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(f"{group}/{_spell(name)}", value, now, step) for name, value in numbers.items()]
        self.client.log_batch(self._find(run), metrics=metrics)

    def _find(self, run: Run) -> str:
        """Return the id of a run, which is made if there is none."""
        if run.key not in self._ids:
            experiment = self._find_experiment()
            found = self.client.search_runs([experiment], f"tags.`{KEY}` = '{run.key}'", max_results=1)
            self._ids[run.key] = found[0].info.run_id if found else self._make(run, experiment)
        return self._ids[run.key]

    def _make(self, run: Run, experiment: str) -> str:
        from mlflow.entities import Param

        made = self.client.create_run(experiment, tags={KEY: run.key}, run_name=run.title)
        params = [Param(name, str(value)[:LONGEST]) for name, value in list_settings(run).items()]
        for first in range(0, len(params), AT_ONCE):
            self.client.log_batch(made.info.run_id, params=params[first : first + AT_ONCE])
        return str(made.info.run_id)

    def _find_experiment(self) -> str:
        if found := self.client.get_experiment_by_name(self.config.experiment):
            return str(found.experiment_id)
        artifacts = (self.results / "mlflow").absolute().as_uri() if self._is_own else None
        return str(self.client.create_experiment(self.config.experiment, artifact_location=artifacts))


def _spell(name: str) -> str:
    """Return a name without the signs that MLflow refuses: the name of a folder may have any."""
    return re.sub(r"[^\w./ -]", "_", name.replace("@", " at ").replace("%", " percent"))

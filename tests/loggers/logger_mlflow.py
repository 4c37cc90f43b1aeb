"""What MLflow reads of a run that was logged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from logged_runs import EPOCHS, RUN, STEPS, Logged, log_failures_and_one_success, make_record
from mlflow import MlflowClient
from PIL import Image

from bench.registry.registry import Registry

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's own, of SQLAlchemy's
Log = Callable[..., Logged]


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)  # where artifacts are kept of a server that is named


def read(uri: str) -> tuple[MlflowClient, Any]:
    """Return the client, and the only run of the experiment."""
    client = MlflowClient(uri)
    (run,) = client.search_runs([client.get_experiment_by_name("bench").experiment_id])
    return client, run


def test_a_backbone_is_one_run_with_settings_curves_views_and_scores(log: Log, tmp_path: Any) -> None:
    logged = log("--log", "mlflow")
    client, run = read(f"sqlite:///{logged.folder / 'mlflow.db'}")
    steps = client.get_metric_history(run.info.run_id, "train/contrastive")
    epochs = client.get_metric_history(run.info.run_id, "epoch/loss")
    picture = client.download_artifacts(run.info.run_id, "views.png", str(tmp_path))

    assert run.data.tags["bench_key"] == logged.key
    assert run.info.status == "FINISHED"
    assert run.data.params["simclr.hidden_dim"] == "32"
    assert run.data.params["train.batch_size"] == "24"
    assert sorted(m.step for m in steps) == list(range(1, EPOCHS * STEPS + 1))
    assert sorted(m.step for m in epochs) == list(range(1, EPOCHS + 1))
    assert run.data.metrics["scores/knn at 50 percent/top1"] == pytest.approx(logged.value("knn", 0.5))
    assert run.data.metrics["scores/linear/top1"] == pytest.approx(logged.value("linear", 1.0))
    assert Image.open(picture).width > 16 * 5


def test_a_score_that_comes_later_is_of_the_same_run(log: Log) -> None:
    log("--log", "mlflow", "--eval", "knn")
    logged = log("--log", "mlflow")
    client, run = read(f"sqlite:///{logged.folder / 'mlflow.db'}")

    assert len(client.get_metric_history(run.info.run_id, "epoch/loss")) == EPOCHS
    assert "scores/linear/top1" in run.data.metrics


def test_the_server_can_be_named(log: Log, tmp_path: Any) -> None:
    uri = f"sqlite:///{tmp_path / 'other.db'}"
    logged = log("--log", "mlflow", "--set", f"mlflow.uri={uri}")

    assert read(uri)[1].data.tags["bench_key"] == logged.key
    assert not (logged.folder / "mlflow.db").exists()


def test_each_cell_has_a_status_which_a_later_success_goes_over(tmp_path: Path) -> None:
    cls = Registry.load().load_class("loggers", "mlflow")
    logger = cls(cls.Config(), tmp_path)
    named = {"eval_dataset_name": "photos + (1)", "eval_dataset": "image_folder"}
    logger.log_record(RUN, make_record(**named))  # signs that MLflow refuses
    log_failures_and_one_success(logger)
    _, run = read(f"sqlite:///{tmp_path / 'mlflow.db'}")

    assert run.data.tags["scores/knn at 1 percent/status"] == "failed: it broke"
    assert run.data.tags["scores/knn at 10 percent/status"] == "ok"
    assert run.data.metrics["scores/knn at 10 percent/top1"] == 50.0
    assert run.data.metrics["scores/photos _ _1_/knn/top1"] == 50.0

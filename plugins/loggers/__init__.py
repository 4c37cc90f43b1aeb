"""Trackers that a run can be shown in: what this folder offers."""

from __future__ import annotations

from collections.abc import Iterator

from bench.api import Offer, hookimpl


@hookimpl
def bench_loggers() -> Iterator[Offer]:
    """Offer the built-in loggers."""
    yield Offer("tensorboard", ".tensorboard:TensorBoard", "Event files, for `tensorboard --logdir`.")
    yield Offer(
        "wandb", ".wandb:WeightsAndBiases", "Weights & Biases, offline too.", also=("weights-and-biases",)
    )
    yield Offer("mlflow", ".mlflow:MLflow", "MLflow, in a folder or on a server.")

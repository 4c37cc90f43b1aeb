"""What TensorBoard reads of a run that was logged."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from logged_runs import EPOCHS, STEPS, Logged
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

Log = Callable[..., Logged]


def read(folder: Any) -> EventAccumulator:
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    events.Reload()
    return events


def test_a_backbone_is_one_run_with_settings_curves_views_and_scores(log: Log) -> None:
    logged = log("--log", "tensorboard")
    (folder,) = (logged.folder / "tensorboard").iterdir()
    events = read(folder)
    settings = events.Tensors("settings/text_summary")[0].tensor_proto.string_val[0].decode()

    assert folder.name.endswith(logged.key[:8])
    assert [e.step for e in events.Scalars("train/contrastive")] == list(range(1, EPOCHS * STEPS + 1))
    assert [e.step for e in events.Scalars("epoch/loss")] == list(range(1, EPOCHS + 1))
    for evaluator, share, name in (("knn", 0.5, "knn@50%"), ("linear", 1.0, "linear")):
        (score,) = events.Scalars(f"scores/{name}/top1")
        assert score.value == pytest.approx(logged.value(evaluator, share))
    assert "| simclr.hidden_dim | `32` |" in settings
    assert "| train.batch_size | `24` |" in settings
    (picture,) = events.Images("views")
    assert Image.open(io.BytesIO(picture.encoded_image_string)).width > 16 * 5


def test_a_score_that_comes_later_is_of_the_same_run(log: Log) -> None:
    log("--log", "tensorboard", "--eval", "knn")
    logged = log("--log", "tensorboard")
    (folder,) = (logged.folder / "tensorboard").iterdir()

    assert len(read(folder).Scalars("epoch/loss")) == EPOCHS
    assert read(folder).Scalars("scores/linear/top1")


def test_the_folder_can_be_named(log: Log, tmp_path: Any) -> None:
    log("--log", "tensorboard", "--set", f"tensorboard.folder={tmp_path / 'here'}")

    assert list((tmp_path / "here").iterdir())

"""What TensorBoard reads of a run that was logged."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from logged_runs import EPOCHS, RUN, STEPS, Logged, log_failures_and_one_success, resume
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from bench.registry.registry import Registry

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


@pytest.fixture
def open_logger(tmp_path: Path) -> Callable[[], Any]:
    """Return a logger as a process has one."""
    cls = Registry.load().load_class("loggers", "tensorboard")
    return lambda: cls(cls.Config(), tmp_path)


def log_steps(logger: Any, run: Any, steps: range, every: int) -> None:
    an_epoch = run.steps // run.epochs
    logger.start(run)
    for step in steps:
        if step % every == 0:
            logger.log_step(run, step, {"loss": float(step)})
        if step % an_epoch == 0:
            logger.log_epoch(run, step // an_epoch, {"loss": float(step)})
    logger.close()


@pytest.mark.parametrize(("steps", "epochs", "every"), [(400, 4, 50), (400, 4, 25), (8, 8, 1)])
@pytest.mark.parametrize("within", [0.0, 0.5])
def test_no_point_is_lost_where_a_training_goes_on(
    open_logger: Callable[[], Any], tmp_path: Path, steps: int, epochs: int, every: int, within: float
) -> None:
    run, an_epoch = replace(RUN, steps=steps, epochs=epochs), steps // epochs
    first = (epochs // 2) * an_epoch + int(within * an_epoch)  # a checkpoint may be of within an epoch
    log_steps(open_logger(), run, range(1, steps + 1 - an_epoch), every)
    log_steps(open_logger(), resume(run, epochs // 2), range(first + 1, steps + 1), every)
    events = read(next((tmp_path / "tensorboard").iterdir()))
    found = [event.step for event in events.Scalars("train/loss")]

    assert sorted(set(found)) == list(range(every, steps + 1, every))
    assert all(event.value == event.step for event in events.Scalars("train/loss"))
    assert {event.step for event in events.Scalars("epoch/loss")} == set(range(1, epochs + 1))
    assert not [step for step in found if step > (epochs // 2 + 1) * an_epoch and found.count(step) > 1]


def test_each_cell_has_a_status_which_a_later_success_goes_over(
    open_logger: Callable[[], Any], tmp_path: Path
) -> None:
    log_failures_and_one_success(open_logger())
    events = read(next((tmp_path / "tensorboard").iterdir()))
    said = {
        tag: [event.tensor_proto.string_val[0].decode() for event in events.Tensors(tag)]
        for tag in events.Tags()["tensors"]
    }

    assert said["scores/knn@1%/status/text_summary"] == ["failed: it broke"]
    assert said["scores/knn@10%/status/text_summary"] == ["failed: it broke", "ok"]

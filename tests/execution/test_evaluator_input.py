"""What an evaluator is given: labels, folds, features of a backbone that is left as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Lab
from photos import photos
from safetensors.torch import load_file

from bench.contracts.dataset import Images
from bench.evaluation import features
from bench.execution.assembly import build_backbone
from bench.pretraining.channel_statistics import measure_channels
from bench.storage.artifact_files import BACKBONE, PREDICTIONS


def test_a_label_subset_is_stratified_and_nested(probing: Lab, probes: Any) -> None:
    settings = {"dataset.max_train": 200}
    probing.run(probing.plan(settings, evaluator="witness", label_frac=(0.1, 0.5, 1.0)))
    few, half, whole = ({tuple(x) for x in task.train.x.tolist()} for task in probes.SEEN)
    counts = probes.SEEN[0].train.y.bincount(minlength=10)

    assert few < half < whole
    assert (len(probes.SEEN[0].train), len(probes.SEEN[2].train)) == (20, 200)
    assert counts.tolist() == [2] * 10


def test_the_subset_and_the_folds_follow_the_seed(probing: Lab, probes: Any) -> None:
    probing.run(probing.plan(evaluator="witness", label_frac=0.5, seed=(0, 1)))
    one, other = ((task.seed, task.folds) for task in probes.SEEN)

    assert (one[0], other[0]) == (0, 1)
    assert any(not torch.equal(a, b) for a, b in zip(one[1][0], other[1][0], strict=True))


def test_the_folds_of_all_labels_follow_the_seed(probing: Lab, probes: Any) -> None:
    """At a fraction the folds differ because the subsets do; here nothing but the seed moves them."""
    probing.run(probing.plan(evaluator="witness", label_frac=1.0, seed=(0, 1)))
    one, other = probes.SEEN

    assert torch.equal(one.train.y, other.train.y)
    assert all(not torch.equal(a[1], b[1]) for a, b in zip(one.folds, other.folds, strict=True))


def test_an_evaluator_gets_a_copy_of_what_it_may_change(probing: Lab, probes: Any) -> None:
    cells = probing.plan({"witness.ruin": (True, False)}, evaluator="witness")
    records = probing.run(cells)
    ruined, after = probes.SEEN
    kept = load_file(probing.artifact(records[0]["keys"]["score"]) / PREDICTIONS)

    assert after.train.x.any()
    assert torch.equal(after.train.x, ruined.train.x)
    assert torch.equal(after.test.x, ruined.test.x)
    assert torch.equal(after.test.y, ruined.test.y)
    assert kept["label"].any()


@pytest.mark.parametrize(("fraction", "own"), [(1.0, True), (0.5, False)])
def test_the_validation_split_of_the_data_is_chosen_on_where_all_labels_are_used(
    probing: Lab,
    probes: Any,
    tmp_path: Path,
    fraction: float,
    own: bool,  # noqa: FBT001
) -> None:
    root = photos(tmp_path / "photos", {"train": 6, "val": 4, "test": 2})
    settings = {"dataset.root": str(root), "dataset.max_train": None, "train.image_size": None}
    probing.run(probing.plan(settings, dataset="image_folder", evaluator="witness", label_frac=fraction))
    (task,) = probes.SEEN
    fit, val = task.folds[0]

    assert len(task.train) == fraction * 30
    assert (len(task.folds) == 1) is own
    assert task.own_val is own
    assert ((len(fit), len(val)) == (18, 12)) is own
    assert sorted(torch.cat([fit, val]).tolist()) == list(range(len(task.train)))


def test_a_transfer_sees_the_other_data_as_the_backbone_knows_images(lab: Lab, tmp_path: Path) -> None:
    """Grey 8x8 digits, for a backbone of 16x16 colours: enlarged, repeated, normalised as the photos."""
    root = photos(tmp_path / "photos", {"train": 8, "test": 2})
    settings = {"dataset.root": str(root), "dataset.max_train": None, "eval_dataset.max_train": 60}
    (cell,) = lab.plan(settings, method="simclr", dataset="image_folder", eval_dataset="digits")
    (record,) = lab.run([cell])
    trained_on = lab.datasets.open(cell.dataset).load("train")
    backbone = build_backbone(cell, lab.registry, 3)
    backbone.load_state_dict(load_file(lab.artifact(cell.keys.backbone) / BACKBONE))
    mean, std = measure_channels(trained_on)
    test = lab.datasets.open(cell.eval_dataset).load("test")
    (expected,) = features.extract(
        backbone, test.pixels, image_size=16, channels=3, mean=mean, std=std, device=torch.device("cpu")
    )
    loaded = features.load(lab.artifact(cell.keys.features["test"]))

    assert record["status"] == "ok"
    assert (record["cell"]["dataset"], record["cell"]["eval_dataset"]) == ("image_folder", "digits")
    assert torch.allclose(loaded.x, expected, atol=1e-5)
    assert torch.equal(loaded.y, test.labels)
    assert len(record["classes"]) == 10


def test_features_are_of_the_trained_backbone_and_leave_it_as_it_was(lab: Lab) -> None:
    """The statistics of norms are those of training: a pass that updated them would leak test images."""
    pipeline, cells = lab.pipeline(), lab.plan(method="simclr", evaluator="knn")
    list(pipeline.run(cells))
    frozen = pipeline.scores.features.backbones.get(cells[0])
    kept = load_file(lab.artifact(cells[0].keys.backbone) / BACKBONE)
    now = frozen.state_dict()

    assert not frozen.training
    assert any("running_mean" in name for name in kept)
    assert all(torch.equal(now[name], value) for name, value in kept.items())


def test_mean_and_deviation_are_exact() -> None:
    draw = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 200, (1007, 3, 5, 4), dtype=torch.uint8, generator=draw)
    mean, std = measure_channels(Images(pixels, torch.zeros(1007, dtype=torch.int64)))
    values = pixels.numpy().astype(np.float64) / 255

    assert mean == pytest.approx(values.mean(axis=(0, 2, 3)), rel=1e-12)
    assert std == pytest.approx(values.std(axis=(0, 2, 3)), rel=1e-12)


def test_images_of_one_colour_have_a_deviation_that_can_be_divided_by() -> None:
    pixels = torch.full((2, 1, 4, 4), 51, dtype=torch.uint8)

    assert measure_channels(Images(pixels, torch.zeros(2, dtype=torch.int64))) == ((0.2,), (1 / 255,))

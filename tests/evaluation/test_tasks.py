"""What an evaluator is given: the rows it may see, copied once, and no others."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from bench.contracts.dataset import Images
from bench.contracts.dataset_info import DatasetInfo
from bench.contracts.evaluator import Features, Network
from bench.evaluation.tasks import build_network, build_task

CPU = torch.device("cpu")
INFO = DatasetInfo(classes=("a", "b"), channels=1, size=2)
ABOUT = {"image_size": 2, "channels": 1, "mean": (0.5,), "std": (0.5,)}


def split(count: int, first: int) -> Images:
    """Return images whose pixels are their number."""
    numbers = torch.arange(first, first + count)
    return Images(numbers.to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 2, 2), numbers % 2)


def network(images: dict[str, Images], fraction: float, device: torch.device = CPU) -> Network:
    backbone: Any = nn.Flatten()
    return build_network(backbone, images, INFO, ABOUT, fraction, 0, device)


@pytest.mark.parametrize("fraction", [0.25, 1.0])
@pytest.mark.parametrize("own_val", [True, False])
def test_images_and_features_are_of_the_same_rows(own_val: bool, fraction: float) -> None:  # noqa: FBT001
    images = {"train": split(40, 0), "test": split(8, 100)} | ({"val": split(24, 40)} if own_val else {})
    features = {
        name: Features(part.pixels[:, 0, 0, :1].float(), part.labels) for name, part in images.items()
    }
    task = build_task(features, INFO.classes, fraction, 0, CPU)
    train = network(images, fraction).train
    rows = task.train.x[:, 0].long()

    assert len(rows) == fraction * (64 if own_val else 40)
    assert torch.equal(train.pixels[:, 0, 0, 0].long(), rows)
    assert torch.equal(train.labels, rows % 2)
    assert torch.equal(task.train.y, rows % 2)
    assert rows.tolist() == sorted(set(rows.tolist()))


def test_images_of_which_all_are_labelled_are_not_copied() -> None:
    images = {"train": split(40, 0), "test": split(8, 100)}
    found = network(images, 1.0)

    assert found.train.pixels.data_ptr() == images["train"].pixels.data_ptr()
    assert found.test is images["test"]


@pytest.mark.parametrize("fraction", [0.25, 1.0])
def test_what_is_trained_on_stays_on_a_device_that_has_room_for_it(
    fraction: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = {"train": split(40, 0), "test": split(8, 100)}
    meta, half = torch.device("meta"), 2 * images["train"].pixels.nbytes
    roomy = network(images, fraction, meta).train
    monkeypatch.setattr("bench.contracts.dataset.free_memory", lambda _device: half * fraction - 2)
    full = network(images, fraction, meta).train

    assert roomy.pixels.device == meta
    assert full.pixels.device == CPU


def two_classes(count: int) -> Features:
    return Features(torch.rand(count, 2), torch.arange(count) % 2)


def test_features_of_which_all_are_labelled_are_not_copied() -> None:
    features = {"train": two_classes(40), "test": two_classes(8)}
    task = build_task(features, INFO.classes, 1.0, 0, CPU)

    assert task.train.x.data_ptr() == features["train"].x.data_ptr()
    assert task.test.x.data_ptr() == features["test"].x.data_ptr()
    assert task.train.x.equal(features["train"].x)


def test_labels_in_front_of_and_behind_which_there_are_none_need_no_copy_of_features() -> None:
    train = two_classes(40)
    train.y[:4], train.y[30:] = -1, -1
    task = build_task({"train": train, "test": two_classes(8)}, INFO.classes, None, 0, CPU)

    assert task.train.x.data_ptr() == train.x[4:].data_ptr()
    assert task.train.x.equal(train.x[4:30])
    assert task.train.y.equal(train.y[4:30])


@pytest.mark.parametrize("gap", [False, True])
def test_the_labelled_part_of_train_and_val_is_a_copy(gap: bool) -> None:  # noqa: FBT001
    features = {"train": two_classes(40), "val": two_classes(20), "test": two_classes(8)}
    if gap:
        features = {"train": features["train"], "test": features["test"]}
        features["train"].y[7] = -1
    every = torch.cat([features[split].x for split in features if split != "test"])
    labels = torch.cat([features[split].y for split in features if split != "test"])
    task = build_task(features, INFO.classes, None, 0, CPU)

    assert task.train.x.data_ptr() != features["train"].x.data_ptr()
    assert task.train.x.equal(every[labels >= 0])


def test_labels_are_a_copy_that_may_be_ruined() -> None:
    features = {"train": two_classes(40), "test": two_classes(8)}
    task = build_task(features, INFO.classes, 1.0, 0, CPU)
    for part in (task.train, task.test):
        part.y.fill_(7)

    assert all(part.y.max() <= 1 for part in features.values())

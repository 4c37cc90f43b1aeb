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


def network(images: dict[str, Images], fraction: float) -> Network:
    backbone: Any = nn.Flatten()
    return build_network(backbone, images, INFO, ABOUT, fraction, 0, CPU)


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

    assert found.train is images["train"]
    assert found.test is images["test"]


def test_features_are_a_copy_that_may_be_ruined() -> None:
    features = {
        "train": Features(torch.ones(40, 2), torch.arange(40) % 2),
        "test": Features(torch.ones(8, 2), torch.zeros(8).long()),
    }
    task = build_task(features, INFO.classes, 1.0, 0, CPU)
    for part in (task.train, task.test):
        part.x.zero_()
        part.y.fill_(7)

    assert all(part.x.all() and part.y.max() <= 1 for part in features.values())

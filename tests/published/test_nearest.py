"""Which published result is the nearest, and what is said of how it differs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bench.published.nearest import Protocol, Reference, find_nearest, protocol_of
from bench.published.results import PublishedResult, load_published

OURS = Protocol(backbone="resnet18", stem="small", epochs=200, batch_size=256, readout="linear")
USUAL = {
    "published": "SimCLR", "method": "simclr", "dataset": "cifar10", "backbone": "ResNet18 (CIFAR stem)",
    "epochs": 200, "batch_size": 256, "evaluator": "linear", "top1": 90.0, "source": "a paper",
}  # fmt: skip


def published(top1: float, **changes: Any) -> PublishedResult:
    return PublishedResult(**(USUAL | {"top1": top1} | changes))


def nearest(*results: PublishedResult, ours: Protocol = OURS) -> Reference:
    found = find_nearest(results, "simclr", "cifar10", ours)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("near", "far"),
    [
        ({"epochs": None}, {"backbone": "ResNet18", "batch_size": 256}),
        ({"epochs": 2000}, {"backbone": "ResNet50 (CIFAR stem)"}),
        ({"backbone": "ResNet18", "epochs": 1}, {"backbone": "ResNet50 (CIFAR stem)"}),
        ({"epochs": 400, "evaluator": "online_linear"}, {"epochs": 800}),
        ({"epochs": 100}, {"epochs": 500}),
        ({"epochs": 1}, {"epochs": None}),
        ({"batch_size": 4096}, {"evaluator": "online_linear"}),
        ({"evaluator": "online_linear"}, {"protocol": "best epoch on test; macro accuracy"}),
        ({"batch_size": 512}, {"batch_size": 64}),
        ({"batch_size": 64}, {"batch_size": None}),
    ],
)
def test_backbone_goes_before_epochs_before_protocol_before_batch(
    near: dict[str, Any], far: dict[str, Any]
) -> None:
    one, other = published(1.0, **near), published(2.0, **far)

    assert nearest(one, other).result == nearest(other, one).result == one


def test_of_two_that_are_as_near_the_first_is_taken() -> None:
    assert nearest(published(1.0, source="a"), published(2.0, source="b")).result.top1 == 1.0


@pytest.mark.parametrize("evaluator", ["knn200", "finetune", "linear_10pct", "transfer_linear", "supervised"])
def test_another_quantity_is_never_put_beside_ours(evaluator: str) -> None:
    assert find_nearest([published(1.0, evaluator=evaluator)], "simclr", "cifar10", OURS) is None


def test_as_many_labels_and_other_data_are_compared_where_ours_is_so_too() -> None:
    few = published(1.0, evaluator="finetune_10pct")
    transfer = published(2.0, evaluator="transfer_linear")

    assert nearest(few, transfer, ours=replace(OURS, readout="finetune", label_frac=0.1)).result == few
    assert nearest(few, transfer, ours=replace(OURS, transfer=True)).result == transfer


def test_a_readout_with_another_name_of_the_same_kind_is_compared() -> None:
    assert nearest(published(1.0), ours=replace(OURS, readout="linear-sgd")).differences == ()


def test_the_data_set_may_have_its_published_name() -> None:
    assert find_nearest([published(1.0)], "simclr", "CIFAR-10", OURS) is not None
    assert find_nearest([published(1.0)], "simclr", "CIFAR-100", OURS) is None
    assert find_nearest([published(1.0)], "vicreg", "cifar10", OURS) is None


@pytest.mark.parametrize(
    ("theirs", "ours", "words"),
    [
        ({}, {}, ()),
        ({"backbone": "ResNet50"}, {}, ("ResNet50, not resnet18",)),
        ({}, {"stem": "standard"}, ("the stem for small images, not the standard stem",)),
        ({}, {"stem": None}, ()),
        ({"epochs": 1000}, {"epochs": 3}, ("1,000 epochs, not 3",)),
        ({"epochs": 1}, {}, ("1 epoch, not 200",)),
        ({"epochs": None}, {}, ("epochs not stated",)),
        ({"batch_size": 512}, {}, ("512 images a batch, not 256",)),
        ({"batch_size": None}, {}, ("batch size not stated",)),
        ({"evaluator": "online_linear"}, {}, ("online probe",)),
        ({}, {"online": True}, ("a probe after the training",)),
        (
            {"protocol": "best epoch on test; macro accuracy"},
            {},
            ("best epoch on test", "macro accuracy"),
        ),
        ({}, {"remarks": ("best epoch",)}, ("no best epoch",)),
        ({"evaluator": "knn200"}, {"readout": "knn", "k": 20}, ("200 neighbours, not 20",)),
    ],
)
def test_each_difference_is_said_in_words(
    theirs: dict[str, Any], ours: dict[str, Any], words: tuple[str, ...]
) -> None:
    assert nearest(published(1.0, **theirs), ours=replace(OURS, **ours)).differences == words


def test_the_names_of_vision_transformers_are_known() -> None:
    vit = replace(OURS, backbone="vit_small_patch16_224", stem=None)

    assert nearest(published(1.0, backbone="ViT-S/16"), ours=vit).differences == ()


@pytest.mark.parametrize("result", load_published(), ids=lambda one: one.evaluator)
def test_the_protocol_of_every_result_is_read_whole(result: PublishedResult) -> None:
    protocol = protocol_of(result)

    assert protocol.readout in {"linear", "knn", "finetune", "supervised", "supervised_from_scratch"}
    assert protocol.online == result.evaluator.startswith("online_")
    assert protocol.transfer == result.evaluator.startswith("transfer_")
    assert (protocol.k is None) == (result.evaluator[-1] not in "0123456789")
    assert (protocol.stem == "small") == ("CIFAR" in result.backbone)

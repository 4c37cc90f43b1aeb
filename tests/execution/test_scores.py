"""What an evaluator is given beside features, and which labels the backbone it measures has seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from conftest import Lab

from bench.contracts.dataset import Images
from bench.contracts.evaluator import Features, Task
from bench.errors import BadValue

TINY: dict[str, Any] = {"backbone": "tiny", "evaluator": "norm"}


# ---- backbone and images


def test_a_network_gives_the_features_of_the_task_row_by_row(probing: Lab, probes: Any) -> None:
    probing.run(probing.plan(**TINY, method="probe", seed=3))
    (task,) = probes.SEEN
    network = task.network
    backbone = network.backbone()
    with torch.no_grad():
        train, test = (backbone(network.clean(part.pixels)) for part in (network.train, network.test))

    assert torch.allclose(train, task.train.x, atol=1e-5)
    assert torch.allclose(test, task.test.x, atol=1e-5)
    assert torch.equal(network.train.labels, task.train.y)
    assert torch.equal(network.test.labels, task.test.y)


def test_the_images_are_those_of_the_label_subset(
    probing: Lab, probes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes.Norm, "takes_fraction", True)
    probing.run(probing.plan(**TINY, label_frac=0.5))
    (task,) = probes.SEEN

    assert len(task.network.train) == len(task.train) < 48
    assert torch.equal(task.network.train.labels, task.train.y)


def test_a_backbone_is_a_copy_that_can_be_trained(probing: Lab, probes: Any) -> None:
    """The probe zeroes its copy: what comes after finds the backbone as it was."""
    first, knn = probing.run(probing.plan(**{**TINY, "evaluator": ("norm", "knn")}))
    (task,) = probes.SEEN
    again = probing.beside("again").run(probing.plan(backbone="tiny"))[0]

    assert first["metrics"]["norm"]["value"] > 0
    assert knn["metrics"] == again["metrics"]
    assert all(p.requires_grad for p in task.network.backbone().parameters())
    assert not task.network.backbone().training
    assert not any(p.requires_grad for p in task.network.trained.parameters())


def test_views_keep_the_label_of_what_is_evaluated_on(probing: Lab, probes: Any) -> None:
    """A mirrored digit is none, whatever the evaluator asks for."""
    from bench.augmentation.view import View

    probing.run(probing.plan(**TINY))
    network = probes.SEEN[0].network
    whole = {"crop_min": 1.0, "crop_ratio": 1.0, "jitter": 0.0, "grey": 0.0}
    mirrored = network.augment(network.test.pixels, View(flip=1.0, **whole), torch.Generator().manual_seed(0))

    assert torch.allclose(mirrored, network.clean(network.test.pixels), atol=0.02)


def test_a_backbone_that_was_deleted_is_made_again_for_an_evaluator_that_needs_it(
    probing: Lab, probes: Any
) -> None:
    (cell,) = probing.plan(**{**TINY, "evaluator": "knn"}, method="probe")
    probing.run([cell])
    artifact = probing.artifact(cell.keys.backbone)
    artifact.rename(artifact.with_name("elsewhere"))
    (record,) = probing.run(probing.plan(**TINY, method="probe"))

    assert record["status"] == "ok"
    assert len(probes.MADE) == 2


def test_features_alone_are_refused_in_one_line() -> None:
    features = Features(torch.zeros(2, 1), torch.tensor([0, 1]))
    task = Task(
        train=features, test=features, folds=(), classes=("a", "b"), seed=0, device=torch.device("cpu")
    )

    with pytest.raises(BadValue, match=r"^norm: it needs a backbone and images, but was given"):
        task.needed_network("norm")


def test_a_score_without_predictions_is_a_record(probing: Lab, probes: Any) -> None:
    (record,) = probing.run(probing.plan(**TINY))

    assert record["status"] == "ok"
    assert record["metrics"]["norm"]["n"] == 359
    assert record["headline"] == "norm"
    assert not probing.artifact(record["keys"]["score"]).exists()


# ---- labels


def test_an_evaluator_that_takes_no_fraction_is_one_cell(probing: Lab, probes: Any) -> None:
    cells = probing.plan(**{**TINY, "evaluator": ("norm", "knn")}, label_frac=(0.5, 1.0))

    assert [(cell.evaluator.name, cell.label_frac) for cell in cells] == [
        ("norm", None),
        ("knn", 0.5),
        ("knn", 1.0),
    ]
    probing.run(cells[:1])
    assert len(probes.SEEN[0].train) == 48


def test_a_smaller_task_is_stratified_and_has_folds_of_its_own(probing: Lab, probes: Any) -> None:
    probing.run(probing.plan({"dataset.max_train": 200}, **TINY))
    (task,) = probes.SEEN
    few = task.subset(0.1, seed=1)
    other = task.subset(0.1, seed=2)

    assert few.train.y.bincount().tolist() == [2] * 10
    assert few.folds
    assert all(len(fit) + len(val) == 20 for fit, val in few.folds)
    assert few.network is None
    assert not torch.equal(few.train.x, other.train.x)
    assert task.subset(1, seed=1) is task


def test_a_method_that_uses_labels_is_trained_anew_for_each_fraction(lab: Lab) -> None:
    half, whole = lab.plan(method="supervised", label_frac=(0.5, 1.0))

    assert half.keys.backbone != whole.keys.backbone
    assert "50 % of labels" in half.training_title
    assert (half.label_share, whole.label_share) == (0.5, 1)
    assert (half.label_count, whole.label_count) == (20, 48)


def test_a_method_that_looks_at_no_label_is_trained_once_for_all_fractions(lab: Lab) -> None:
    whole, half = lab.plan(method="simclr"), lab.plan(method="simclr", label_frac=0.5)

    assert whole[0].keys.backbone == half[0].keys.backbone
    assert whole[0].label_share == half[0].label_share == 0


def test_a_method_that_uses_labels_leaves_out_what_is_there_to_pretrain_on(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    digits = lab.registry.load_class("datasets", "digits")
    load, labels = digits.load, digits.labels

    def more_labels(self: Any, split: str) -> Sequence[int]:
        return [-1] * 200 if split == "more" else labels(self, split)

    def more(self: Any, split: str) -> Images:
        if split != "more":
            images: Images = load(self, split)
            return images
        return Images(torch.zeros(200, 1, 8, 8, dtype=torch.uint8), torch.full((200,), -1))

    monkeypatch.setattr(digits, "labels", more_labels)
    monkeypatch.setattr(digits, "load", more)
    monkeypatch.setattr(digits, "pretrain", property(lambda _self: "more"))
    supervised, simclr = lab.plan(method=("supervised", "simclr"))

    assert (supervised.split, simclr.split) == ("train", "more")
    assert supervised.steps == simclr.steps == 2 * (200 // 16)
    assert supervised.label_passes == supervised.steps * 16 / 48
    assert [record["status"] for record in lab.run([supervised])] == ["ok"]


# ---- protocols


def test_a_record_says_its_protocol(lab: Lab) -> None:
    records = lab.run(lab.plan(method=("simclr", "supervised"), evaluator=("linear", "knn"), label_frac=0.5))
    protocols = [record["protocol"] for record in records]

    assert {(p["features"], p["probe"], p["checkpoint"]) for p in protocols} == {
        ("frozen", "offline", "last epoch")
    }
    assert [p["selected"] for p in protocols] == ["l2", "nothing", "nothing", "nothing"]
    assert [p["selected_split"] for p in protocols] == ["train", "nothing", "nothing", "nothing"]
    assert [p["training_labels"] for p in protocols] == [0, 0, 0.5, 0.5]


# ---- no backbone


def test_pixels_are_the_images_themselves(probing: Lab, probes: Any) -> None:
    (record,) = probing.run(probing.plan(method="pixels", evaluator="witness"))
    (task,) = probes.SEEN
    info = probing.datasets.open(probing.plan()[0].dataset).info

    assert record["status"] == "ok"
    assert record["cell"]["backbone"] == "pixels"
    assert task.test.x.shape == (359, 16 * 16)
    assert task.test.x.mean() == pytest.approx(0, abs=0.3)
    assert info.channels == 1


def test_pixels_are_one_row_whatever_backbones_are_asked_for(lab: Lab) -> None:
    cells = lab.plan(method=("random", "pixels"), backbone=("test_resnet", "test_vit"))

    assert [(cell.method.name, cell.backbone.name) for cell in cells] == [
        ("random", "test_resnet"),
        ("pixels", "pixels"),
        ("random", "test_vit"),
    ]


def test_an_evaluator_that_needs_a_backbone_is_skipped_where_there_is_none(probing: Lab) -> None:
    random, pixels = probing.run(probing.plan(**TINY, method=("random", "pixels")))

    assert (random["status"], pixels["status"]) == ("ok", "skipped")
    assert pixels["reason"] == "norm: it needs a backbone to work on, but pixels has features only."

"""What somebody wrote finds the name that is meant, of whatever kind."""

from __future__ import annotations

import dataclasses

import pytest

from bench.augmentation.named_ops import NAMES
from bench.augmentation.view import View
from bench.cli.main import COMMANDS
from bench.contracts.recipe import TrainConfig
from bench.errors import UnknownName
from bench.planning.options import AXES, RUNTIME, TRAINING
from bench.registry.registry import Registry
from bench.reporting.axes import CELL_FIELDS
from bench.reporting.metric_choice import COSTS
from bench.spelling import SYNONYMS, find_nearest, squash


@pytest.mark.parametrize(
    ("kind", "written", "meant"),
    [
        ("methods", "SimCLR", "simclr"),
        ("methods", "Barlow Twins", "barlow_twins"),
        ("methods", "moco", "mocov2"),
        ("methods", "MoCo-v3", "mocov3"),
        ("methods", "untrained", "random"),
        ("methods", "simclrr", "simclr"),
        ("backbones", "resnet-50", "resnet50"),
        ("backbones", "ResNet 18", "resnet18"),
        ("backbones", "ViT-B/16", "vit_base_patch16_224"),
        ("backbones", "vit_b_16", "vit_base_patch16_224"),
        ("backbones", "vit_tiny", "vit_tiny_patch16_224"),
        ("backbones", "DeiT-S/16", "deit_small_patch16_224"),
        ("backbones", "convnext-t", "convnext_tiny"),
        ("backbones", "efficientnet-b0", "efficientnet_b0"),
        ("datasets", "imagefolder", "image_folder"),
        ("datasets", "ImageFolder", "image_folder"),
        ("datasets", "CIFAR-10", "cifar10"),
        ("datasets", "STL-10", "stl10"),
        ("evaluators", "kNN", "knn"),
        ("evaluators", "k-nn", "knn"),
        ("evaluators", "linear_probe", "linear"),
        ("evaluators", "fine-tuning", "finetune"),
        ("evaluators", "semi-supervised", "label-fraction"),
        ("evaluators", "RankMe", "geometry"),
        ("formats", "markdown", "github"),
        ("formats", "tex", "latex"),
        ("executors", "process", "in-process"),
    ],
)
def test_a_plugin_is_found_by_other_spellings_and_names(
    kind: str, written: str, meant: str, registry: Registry
) -> None:
    with pytest.raises(UnknownName, match=f"Did you mean '{meant}'"):
        registry.find(kind, written)


@pytest.mark.parametrize(
    ("written", "meant"),
    [("learning_rate", "lr"), ("wd", "weight_decay"), ("bs", "batch_size"), ("warmup", "warmup_epochs"),
     ("grad_clip", "clip_norm"), ("resolution", "image_size"), ("amp", "precision"), ("epoch", "epochs")],
)  # fmt: skip
def test_a_setting_is_found_by_what_others_call_it(written: str, meant: str) -> None:
    assert find_nearest(written, [field.name for field in dataclasses.fields(TrainConfig)])[0] == meant


def test_the_last_part_of_a_name_is_enough() -> None:
    known = ["method", "train.lr", "train.lr_scaling", "method.temperature"]

    assert find_nearest("lr", known) == ["train.lr"]
    assert find_nearest("learning-rate", known) == ["train.lr"]
    assert find_nearest("tau", known) == ["method.temperature"]


def test_the_same_letters_go_before_another_word_and_that_before_a_likeness() -> None:
    assert find_nearest("Top-1", ["top1", "top10"]) == ["top1"]
    assert find_nearest("accuracy", ["balanced_accuracy", "top1"]) == ["top1"]
    assert find_nearest("accuracies", ["balanced_accuracy", "accuracy_at_k"]) == ["accuracy_at_k"]
    assert find_nearest("one", ["two", "three"], also={"uno": "two", "One!": "three"}) == ["three"]


def test_nothing_is_suggested_of_what_is_like_nothing() -> None:
    assert find_nearest("zzz", ["simclr", "vicreg"]) == []
    assert find_nearest("", ["simclr"]) == []
    assert find_nearest("..", ["simclr"]) == []


def test_shorter_names_come_first_and_numbers_are_numbers() -> None:
    names = [f"resnet{depth}" for depth in (101, 152, 18, 34, 50)]

    assert find_nearest("resnet", names) == ["resnet18", "resnet34", "resnet50"]


def test_every_synonym_leads_to_a_name_that_there_is(registry: Registry) -> None:
    configs = [TrainConfig, View]
    for kind in ("methods", "backbones", "datasets", "evaluators"):
        configs += [registry.declared_by(entry).Config for entry in registry.entries(kind)]
    fields = [field for config in configs for field in dataclasses.fields(config)]
    known = {field.name for field in fields} | {*AXES, *TRAINING, *RUNTIME, *CELL_FIELDS, *NAMES, *COSTS}
    known |= {str(value) for field in fields for value in field.metadata.get("choices", ())}
    known |= {command.name for command in COMMANDS if command.name}
    known |= {option.name for command in COMMANDS for option in command.params if option.name}
    known |= {"views", "set", "root", "ops", "top1", "top5", "balanced_accuracy", "ece", "nll", "cuda"}

    assert not {word: meant for word, meant in SYNONYMS.items() if not known.issuperset(meant)}


def test_no_synonym_is_there_in_two_spellings() -> None:
    assert len({squash(word) for word in SYNONYMS}) == len(SYNONYMS)

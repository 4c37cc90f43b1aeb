"""Keys of results that there are: written down, and computed again from committed records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import Lab

from bench.config import build
from bench.contracts.dataset_info import DatasetInfo
from bench.contracts.recipe import TrainConfig, resolve
from bench.keys import digest
from bench.registry.registry import Registry

RESULTS = Path(__file__).parents[2] / "results"
ON_LABELS = {"supervised", "supcon"}
IDENTITY = "dist", "version", "fingerprint"
DEFAULTS = dict.fromkeys(("train.batch_size", "train.epochs", "train.image_size", "dataset.max_train"))


def trained_records() -> list[dict[str, Any]]:
    """Return a committed record of each backbone that was trained without labels.

    The key of a training on labels has which it saw, too, which a record only counts.
    """
    records = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*/records/**/*.json"))]
    trained = {
        record["keys"]["backbone"]: record
        for record in records
        if "optimizer" in record["config"]["training"]
    }
    return [record for record in trained.values() if record["cell"]["method"] not in ON_LABELS]


def identity_of(record: dict[str, Any], role: str) -> dict[str, Any]:
    """Return what a key hashes of a plugin, from the flat form that a record has."""
    values = dict(record["config"][role])
    others = {name: values.pop(name) for name in IDENTITY if name in values}
    return {**others, "name": record["cell"][role], "config": values}


@pytest.mark.parametrize(
    ("method", "backbone", "test", "score"),
    [
        ("simclr", "9c41c57c2217945ccc0b", "289e725d34a05608ff84", "650939e3e11100c6512b"),
        ("vicreg", "23d101d90d2c71f9ee7b", "f2bfcd78f240ae37f1f4", "c3e4fda7590618151c97"),
        ("supervised", "7015b6487a8e6d3a0320", "4b02867eb5dcc3eae286", "8e0624fce6c04893419f"),
        ("random", "dae6694f8712e91d49ab", "06ff904cea935d28b218", "a4f3c37a304b644829a8"),
    ],
)
def test_a_key_stays_what_it_was(lab: Lab, method: str, backbone: str, test: str, score: str) -> None:
    """On the digits with resnet18 and everything at its default, before recipes had more than momentum."""
    (cell,) = lab.plan(DEFAULTS, method=method, backbone="resnet18")

    assert (cell.keys.backbone, cell.keys.features["test"], cell.keys.score) == (backbone, test, score)


@pytest.mark.parametrize(
    ("method", "evaluator", "fraction", "backbone", "score"),
    [
        ("random", "knn", 0.1, "dae6694f8712e91d49ab", "73cf330e0b7c20f56f93"),
        ("random", "linear-sgd", 0.1, "dae6694f8712e91d49ab", "f612299306179156034e"),
        ("random", "geometry", 1.0, "dae6694f8712e91d49ab", "9a91ca9421ca9d924255"),
        ("simclr", "knn", 0.5, "9c41c57c2217945ccc0b", "3fc12cfefa483104789f"),
        ("simclr", "finetune", 0.1, "9c41c57c2217945ccc0b", "25e80ce9cfcd2ed2fe84"),
    ],
)
def test_a_key_of_data_without_groups_stays_what_it_was(
    lab: Lab, method: str, evaluator: str, fraction: float, backbone: str, score: str
) -> None:
    """On the digits, before datasets could say which images belong together."""
    axes = {"method": method, "backbone": "resnet18", "evaluator": evaluator, "label_frac": fraction}
    (cell,) = lab.plan(DEFAULTS, **axes)

    assert (cell.keys.backbone, cell.keys.score) == (backbone, score)


@pytest.mark.parametrize("record", trained_records(), ids=lambda record: record["keys"]["backbone"])
def test_a_committed_record_is_of_the_key_that_it_would_have_now(
    registry: Registry, record: dict[str, Any]
) -> None:
    cls = registry.load_class("methods", record["cell"]["method"])
    written = record["config"]["training"]
    config = build(
        TrainConfig,
        {n.removeprefix("train."): v for n, v in record["settings"].items() if n.startswith("train.")},
        "train",
    )
    method = {name: value for name, value in record["config"]["method"].items() if name not in IDENTITY}
    data = DatasetInfo(classes=tuple(record["classes"]), channels=3, size=32)
    recipe = cls.recipe_for(build(cls.Config, method, "method"), data, written["image_size"])
    training = resolve(recipe, config, written["image_size"], written["precision"])
    hashed = {
        "stage": "backbone",
        **{role: identity_of(record, role) for role in ("method", "backbone", "dataset")},
        "training": training.key_fields(),
        "views": record["config"]["views"],
        "seed": record["cell"]["seed"],
    }

    assert training.key_fields() == written
    assert digest(hashed) == record["keys"]["backbone"]


def test_there_are_committed_records_of_every_method_that_is_trained(registry: Registry) -> None:
    built_in = [entry.name for entry in registry.entries("methods") if entry.plugin.built_in]
    trained = {name for name in built_in if registry.load_class("methods", name).recipe is not None}

    assert {record["cell"]["method"] for record in trained_records()} == trained - ON_LABELS

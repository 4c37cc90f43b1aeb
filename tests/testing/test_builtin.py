"""Every registered plugin keeps the contract."""

from __future__ import annotations

from typing import Any

import pytest

from bench.registry.registry import CELL_KINDS, Registry
from bench.testing import check

REGISTRY = Registry.load()
REPRESENTATIVES = ("test_resnet", "test_vit")  # of timm: a convolutional network and a transformer
QUICK: dict[str, dict[str, Any]] = {  # of evaluators that train for half a minute by their defaults
    "label-fraction": {"fractions": (0.1, 1.0), "draws": (1, 1), "probe": "knn"},
    "finetune": {"epochs": 10, "lr_backbone_grid": (0.05,), "lr_head_grid": (1.0,)},
    "linear-sgd": {"epochs": 8},
    "mlp": {"epochs": 3, "hidden": (32,), "lr_grid": (8e-3,), "weight_decay_grid": (1.0,)},
}
PLUGINS = [
    *((kind, entry.name) for kind in CELL_KINDS for entry in REGISTRY.entries(kind) if not entry.family),
    *(("backbones", name) for name in REPRESENTATIVES),
]
PARAMS = [
    pytest.param(kind, name, marks=[pytest.mark.long] if name in QUICK else []) for kind, name in PLUGINS
]


@pytest.mark.parametrize(("kind", "name"), PARAMS)
def test_a_registered_plugin_keeps_the_contract(kind: str, name: str) -> None:
    outcomes = list(check(kind, REGISTRY.load_class(kind, name), name))

    assert len(outcomes) > 5
    assert [(title, error) for title, error in outcomes if error is not None] == []


@pytest.mark.parametrize("name", QUICK)
def test_an_evaluator_that_trains_for_long_keeps_the_contract_when_it_trains_less(name: str) -> None:
    cls = REGISTRY.load_class("evaluators", name)
    outcomes = list(check("evaluators", cls, name, config=cls.Config(**QUICK[name])))

    assert [(title, error) for title, error in outcomes if error is not None] == []


def test_every_family_has_a_representative() -> None:
    families = {entry.name for kind in CELL_KINDS for entry in REGISTRY.entries(kind) if entry.family}

    assert families == {REGISTRY.find("backbones", name).member_of for name in REPRESENTATIVES}

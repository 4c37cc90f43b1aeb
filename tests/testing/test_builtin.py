"""Every registered plugin keeps the contract."""

from __future__ import annotations

from typing import Any

import pytest

from bench.registry.registry import CELL_KINDS, Registry
from bench.testing import check, check_method

REGISTRY = Registry.load()
REPRESENTATIVES = ("test_resnet", "test_vit")  # of timm: a convolutional network and a transformer
QUICK: dict[str, dict[str, Any]] = {  # of evaluators that train for half a minute by their defaults
    "label-fraction": {"fractions": (0.1, 1.0), "draws": (1, 1), "probe": "knn"},
    "finetune": {"epochs": 10, "lr_backbone_grid": (0.05,), "lr_head_grid": (1.0,)},
    "linear-sgd": {"epochs": 8},
    "mlp": {"epochs": 3, "hidden": (32,), "lr_grid": (8e-3,), "weight_decay_grid": (1.0,)},
}
AS_THEY_ARE = ("pixels", "random", "supervised")  # methods that are quick with their defaults
SMALL = {
    "simclr": {"hidden_dim": 16, "embedding_dim": 8},
    "vicreg": {"embedding_dim": 8},
}  # others: their tests


def is_long(kind: str, name: str) -> bool:
    """Tell whether the checks of a plugin with its defaults take more than a few seconds."""
    return name in QUICK or (kind == "methods" and name not in AS_THEY_ARE)


PLUGINS = [
    *((kind, entry.name) for kind in CELL_KINDS for entry in REGISTRY.entries(kind) if not entry.family),
    *(("backbones", name) for name in REPRESENTATIVES),
]
PARAMS = [
    pytest.param(kind, name, marks=[pytest.mark.long] if is_long(kind, name) else [])
    for kind, name in PLUGINS
]


@pytest.mark.parametrize(("kind", "name"), PARAMS)
def test_a_registered_plugin_keeps_the_contract(kind: str, name: str) -> None:
    outcomes = list(check(kind, REGISTRY.load_class(kind, name), name))

    assert sum(outcome.state == "ok" for outcome in outcomes) > 5
    assert [outcome for outcome in outcomes if outcome.error is not None] == []


@pytest.mark.parametrize("name", SMALL)
def test_a_method_keeps_the_contract_when_it_is_made_small(name: str) -> None:
    cls = REGISTRY.load_class("methods", name)

    check_method(cls, name, cls.Config(**SMALL[name]))


@pytest.mark.parametrize("name", QUICK)
def test_an_evaluator_that_trains_for_long_keeps_the_contract_when_it_trains_less(name: str) -> None:
    cls = REGISTRY.load_class("evaluators", name)
    outcomes = list(check("evaluators", cls, name, config=cls.Config(**QUICK[name])))

    assert [outcome for outcome in outcomes if outcome.error is not None] == []


def test_every_family_has_a_representative() -> None:
    families = {entry.name for kind in CELL_KINDS for entry in REGISTRY.entries(kind) if entry.family}

    assert families == {REGISTRY.find("backbones", name).member_of for name in REPRESENTATIVES}

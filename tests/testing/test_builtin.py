"""Every registered plugin keeps the contract."""

from __future__ import annotations

import pytest

from bench.registry.registry import CELL_KINDS, Registry
from bench.testing import check

REGISTRY = Registry.load()
REPRESENTATIVES = ("test_resnet", "test_vit")  # of timm: a convolutional network and a transformer
LONG = ("label-fraction", "finetune", "mlp")  # they train for half a minute
PLUGINS = [
    *((kind, entry.name) for kind in CELL_KINDS for entry in REGISTRY.entries(kind) if not entry.family),
    *(("backbones", name) for name in REPRESENTATIVES),
]
PARAMS = [
    pytest.param(kind, name, marks=[pytest.mark.long] if name in LONG else []) for kind, name in PLUGINS
]


@pytest.mark.parametrize(("kind", "name"), PARAMS)
def test_a_registered_plugin_keeps_the_contract(kind: str, name: str) -> None:
    outcomes = list(check(kind, REGISTRY.load_class(kind, name), name))

    assert len(outcomes) > 5
    assert [(title, error) for title, error in outcomes if error is not None] == []


def test_every_family_has_a_representative() -> None:
    families = {entry.name for kind in CELL_KINDS for entry in REGISTRY.entries(kind) if entry.family}

    assert families == {REGISTRY.find("backbones", name).member_of for name in REPRESENTATIVES}

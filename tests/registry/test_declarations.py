"""What a plugin declares is read of its source without torch, and only where the source tells it."""

from __future__ import annotations

import dataclasses
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.contracts.declared import BY_KIND
from bench.contracts.recipe import Recipe
from bench.registry.declarations import read_declarations
from bench.registry.registry import CELL_KINDS, KINDS, Entry, Registry

ENTRIES = [entry for kind in CELL_KINDS for entry in Registry.load().entries(kind)]
METHOD = '''
"""A method."""
from __future__ import annotations
from dataclasses import dataclass, replace
from typing import Any
import torch
from torch import Tensor, nn
from bench.api import Method, Recipe, View, nt_xent, setting

SMALL, LARGE = 32, 64
{above}

def small(recipe: Recipe) -> Recipe:
    return replace(recipe, lr=2.0)

class Mine(Method):
    """Mine."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        width: int | None = setting(SMALL, "of a layer", least=1)

    factor = 2
    version = factor + 1
    recipe = Recipe(optimizer="sgd", lr=1.0, lr_scaling="linear", weight_decay=0.0, source="ours")

    def __init__(self, backbone: nn.Module, *rest: Any) -> None:
        super().__init__(backbone, *rest)
        self.head = nn.Linear(1, 1)

    @classmethod
    def recipe_for(cls, config: Any, data: Any, image_size: int) -> Recipe:
        return cls._choose(image_size)

    @classmethod
    def _choose(cls, image_size: int) -> Recipe:
        return cls.recipe if image_size > SMALL else small(cls.recipe)

    @torch.no_grad()
    def terms(self, embeddings: Any, batch: Any) -> dict[str, Tensor]:
        return {{"loss": nt_xent(embeddings["a"], embeddings["b"], 0.1)}}
{below}
'''


def read(kind: str, target: str) -> type[Any] | None:
    return read_declarations(kind, target, KINDS[kind], BY_KIND[kind])


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "mine_declared.py"


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.full_name)
def test_what_is_read_of_a_built_in_plugin_is_what_its_class_declares(entry: Entry) -> None:
    cls: Any = Registry.load().import_class(entry)
    found: Any = read(entry.kind, entry.target)

    assert found is not None
    assert found is not cls
    assert (found.version, found.reference, found.__doc__) == (cls.version, cls.reference, cls.__doc__)
    assert inspect.getdoc(sys.modules[found.__module__]) == inspect.getdoc(sys.modules[cls.__module__])
    assert describe_fields(found.Config) == describe_fields(cls.Config)
    assert getattr(found, "recipe", None) == getattr(cls, "recipe", None)


def describe_fields(config: type) -> list[tuple[Any, ...]]:
    return [(f.name, f.type, f.default, dict(f.metadata)) for f in dataclasses.fields(config)]


def test_what_declarations_refer_to_is_read_and_nothing_else_is_run(module: Path) -> None:
    module.write_text(METHOD.format(above="WRONG = 1 / 0", below=""))
    found: Any = read("methods", "mine_declared:Mine")

    assert (found.version, found.Config().width) == (3, 32)
    assert found.recipe_for(None, None, 33).lr == 1.0
    assert found.recipe_for(None, None, 32) == dataclasses.replace(found.recipe, lr=2.0)
    assert isinstance(found.recipe, Recipe)
    assert not hasattr(found, "terms")


@pytest.mark.parametrize(
    ("above", "below"),
    [
        ("", "Mine.recipe = None"),
        ("", "SMALL = 16"),
        ("", "for name in 'ab': setattr(Mine, name, 1)"),
        ("if SMALL > 1:\n    LARGE = 1", ""),
        ("from math import *", ""),
        ("", "torch.set_num_threads(1)"),
        ("", "del small"),
        ("", "SMALL += 1"),
    ],
)
def test_a_module_that_may_do_more_at_its_top_is_left_to_its_import(
    module: Path, above: str, below: str
) -> None:
    module.write_text(METHOD.format(above=above, below=below))

    assert read("methods", "mine_declared:Mine") is None


@pytest.mark.parametrize(
    ("written", "instead"),
    [
        ("class Mine(Method):", "class Mine(Method, object):"),
        ("class Mine(Method):", "class Mine(nn.Module):"),
        ("class Mine(Method):", "class Mine(Recipe):"),
        ("class Mine(Method):", "@dataclass\nclass Mine(Method):"),
        ("class Mine(Method):", "class Mine(Method, metaclass=type):"),
        ("    factor = 2\n", "    factor = 2\n    if factor: version = 9\n"),
        ("    factor = 2\n", "    factor = 2\n    version = 9\n"),
    ],
)
def test_a_class_that_is_made_in_another_way_is_left_to_its_import(
    module: Path, written: str, instead: str
) -> None:
    module.write_text(METHOD.format(above="", below="").replace(written, instead))

    assert read("methods", "mine_declared:Mine") is None


def test_a_class_may_extend_another_of_its_module(module: Path) -> None:
    below = "class Other(Mine):\n    factor = 4\n    version = 5\n    SMALLER = torch.tensor(1)\n"
    module.write_text(METHOD.format(above="", below=below))
    found: Any = read("methods", "mine_declared:Other")

    assert (found.version, found.factor, found.Config().width) == (5, 4, 32)
    assert found.recipe_for(None, None, 32).lr == 2.0
    assert not hasattr(found, "SMALLER")


def run(code: str, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=False)


def test_reading_every_built_in_plugin_imports_neither_torch_nor_timm() -> None:
    code = (
        "import sys\nfrom bench.registry.registry import CELL_KINDS, Registry\n"
        "registry = Registry.load()\n"
        "for kind in CELL_KINDS:\n"
        "    for entry in registry.entries(kind):\n"
        "        registry.declared_by(entry).Config()\n"
        "        assert not {'torch', 'timm', 'sklearn'} & set(sys.modules), entry"
    )
    done = run(code)

    assert done.returncode == 0, done.stderr

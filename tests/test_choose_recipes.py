"""The script that chooses defaults gives every method the same effort, and sees no test image."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from bench.registry.registry import Registry

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "choose_recipes.py"


@pytest.fixture(scope="module")
def script() -> Any:
    spec = importlib.util.spec_from_file_location("choose_recipes", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_method_has_as_many_trials_and_they_differ(script: Any) -> None:
    trials = {method: script.list_trials(method) for method in script.OWN}

    assert {len(tried) for tried in trials.values()} == {5}
    assert all(tried.count(one) == 1 for tried in trials.values() for one in tried)
    assert all(tried[0] == {} for tried in trials.values())


def test_the_other_values_of_a_setting_are_not_its_default(script: Any) -> None:
    for method, (name, others) in script.OWN.items():
        cls: Any = Registry.load().load_class("methods", method)
        field = name.partition(".")[2]
        default = getattr(cls.recipe if name.startswith("train.") else cls.Config(), field)

        assert default not in others


def test_no_image_is_both_trained_on_and_held_out_and_no_test_image_is_either(
    script: Any, tmp_path: Path
) -> None:
    for split in ("train", "test"):
        for label in ("cat", "dog"):
            folder = tmp_path / "cifar10" / split / label
            folder.mkdir(parents=True)
            for number in range(10):
                (folder / f"{split}{number}.png").write_bytes(b"")
    script.hold_out(tmp_path / "cifar10" / "train", tmp_path / "held", trained=6, held_out=3)
    parts = {
        split: {path.resolve() for path in (tmp_path / "held" / split).rglob("*.png")}
        for split in ("train", "test")
    }

    assert (len(parts["train"]), len(parts["test"])) == (12, 6)
    assert not parts["train"] & parts["test"]
    assert all("train" in path.name for path in parts["train"] | parts["test"])

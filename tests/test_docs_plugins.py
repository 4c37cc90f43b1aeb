"""The methods in the guide for plugin authors are ones that work."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from bench.api import Recipe, View
from bench.testing import check_method

GUIDE = Path(__file__).resolve().parent.parent / "docs" / "plugins.md"


def run_example(number: int, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Any]:
    """Return the code of an example that begins with imports of its own, and the module that it makes."""
    code = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)[number]
    module = types.ModuleType("guide")
    monkeypatch.setitem(sys.modules, "guide", module)
    exec(code, module.__dict__)  # noqa: S102 - our own documentation
    return code, module


def test_the_method_of_the_guide_keeps_the_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    code, module = run_example(0, monkeypatch)

    check_method(module.Alignment, "alignment")
    assert len([line for line in code.splitlines() if line]) <= 40


def test_the_method_that_keeps_things_keeps_the_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    _, module = run_example(1, monkeypatch)

    class Whole(module.Contrasting):  # type: ignore[misc, name-defined]
        """The frame with what every method has."""

        recipe = Recipe(optimizer="sgd", lr=0.06, lr_scaling="linear", weight_decay=1e-4, source="a test")

        @classmethod
        def views(cls, config: Any, data: Any, image_size: int) -> tuple[View, ...]:
            return (View(), View())

    check_method(Whole, "whole")

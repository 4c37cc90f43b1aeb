"""The method in the guide for plugin authors is one that works."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import pytest

from bench.testing import check_method

GUIDE = Path(__file__).resolve().parent.parent / "docs" / "plugins.md"


def test_the_method_of_the_guide_keeps_the_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    code = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)[0]
    module = types.ModuleType("guide")
    monkeypatch.setitem(sys.modules, "guide", module)

    exec(code, module.__dict__)  # noqa: S102 - our own documentation

    check_method(module.Alignment, "alignment")
    assert len([line for line in code.splitlines() if line]) <= 40

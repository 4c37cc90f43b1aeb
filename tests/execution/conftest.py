"""Plugins that observe, installed for one test."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from bench.registry.registry import Registry

START = "import os, threading, time\nfrom bench.api import hookimpl\nseen = []\n"


@pytest.fixture
def observing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], Any]]:
    """Install plugins that observe, and return the module of each."""
    monkeypatch.syspath_prepend(tmp_path)
    installed = []

    def install(name: str, text: str) -> Any:
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[bench]\npoint = {name}\n")
        (tmp_path / f"{name}.py").write_text(START + dedent(text))
        installed.append(name)
        Registry.load()
        return sys.modules[name]

    yield install
    for name in installed:
        sys.modules.pop(name, None)

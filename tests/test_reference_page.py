"""docs/reference.md is what the docstrings say."""

from __future__ import annotations

import runpy
from pathlib import Path

import bench.api
from bench import hookspecs

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference.md"


def test_the_reference_is_made_from_the_docstrings() -> None:
    make_page = runpy.run_path(str(ROOT / "docs" / "make_reference.py"))["make_page"]

    assert PAGE.read_text(encoding="utf-8") == make_page(), "run `make reference`"


def test_it_has_every_class_function_and_hook() -> None:
    page = PAGE.read_text(encoding="utf-8")
    names = [name for name in bench.api.__all__ if isinstance(getattr(bench.api, name), type(make_list))]
    names += [name for name in bench.api.__all__ if isinstance(getattr(bench.api, name), type)]
    hooks = [name for name in vars(hookspecs) if name.startswith("bench_")]

    assert len(names) > 100
    assert [name for name in (*names, *hooks) if f"\n### {name}\n" not in page] == []


def make_list() -> None:
    """Be a function, whose type functions have."""

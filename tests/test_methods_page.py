"""docs/methods.md is what the code says."""

from __future__ import annotations

import runpy
from pathlib import Path

from bench.published.results import load_published
from bench.registry.registry import Registry

ROOT = Path(__file__).resolve().parent.parent


def test_the_page_of_methods_is_made_from_the_code() -> None:
    make_page = runpy.run_path(str(ROOT / "docs" / "make_methods.py"))["make_page"]

    assert (ROOT / "docs" / "methods.md").read_text(encoding="utf-8") == make_page(), (
        "run `make methods-page`"
    )


def test_every_built_in_method_that_is_trained_has_a_section() -> None:
    page = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    registry = Registry.load()
    trained = [
        entry.name
        for entry in registry.entries("methods")
        if entry.plugin.built_in and registry.import_class(entry).recipe is not None
    ]

    assert len(trained) > 10
    assert all(f"\n## {name}\n" in page for name in trained)


def test_published_results_name_methods_that_there_are_and_say_where_they_are_from() -> None:
    known = {entry.name for entry in Registry.load().entries("methods")}
    results = load_published()

    assert len(results) == 405
    assert {result.method for result in results} - {""} <= known
    assert all(result.source and 0 < result.top1 <= 100 for result in results)
    assert sum(not result.method for result in results) == 49  # methods that bench has not

"""Who may import whom, and what may not bring torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PLUGINS = sorted((ROOT / "plugins").rglob("*.py"))
HARNESS = sorted((ROOT / "bench").rglob("*.py"))
WITHOUT_TORCH = (
    "", "api", "cli", "config", "errors", "hookspecs", "keys",
    "cli.app", "contracts.recipe", "inspection.plugins", "planning.planner", "registry.discovery",
    "registry.registry", "registry.scaffold", "reporting.axes", "reporting.formats.sheet", "reporting.pivot",
    "reporting.table", "splits.stratified", "storage.artifacts", "storage.record_fields", "storage.records",
)  # fmt: skip


def imports(path: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each import of a file: the module, dots and all, and the names taken from it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield module, tuple(alias.name for alias in node.names)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", PLUGINS, ids=name_of)
def test_a_plugin_imports_of_the_harness_only_its_api(path: Path) -> None:
    taken = {module for module, _ in imports(path) if module.split(".")[0] == "bench"}

    assert taken <= {"bench.api"}


@pytest.mark.parametrize("path", PLUGINS, ids=name_of)
def test_a_plugin_takes_no_private_name_of_another(path: Path) -> None:
    taken = [name for module, names in imports(path) if module.startswith(".") for name in names]

    assert not [name for name in taken if name.startswith("_")]


@pytest.mark.parametrize("path", PLUGINS, ids=name_of)
def test_a_plugin_does_not_spell_the_import_name_of_its_folder(path: Path) -> None:
    assert not [m for m, _ in imports(path) if m.split(".")[0] in {"plugins", "bench_plugins"}]
    assert "bench_plugins" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", HARNESS, ids=name_of)
def test_the_harness_names_no_plugin(path: Path) -> None:
    assert not [m for m, _ in imports(path) if m.split(".")[0] in {"plugins", "bench_plugins"}]
    assert "bench_plugins" not in path.read_text(encoding="utf-8")


def test_what_plans_and_lists_does_not_import_torch() -> None:
    modules = [f"bench.{name}".removesuffix(".") for name in WITHOUT_TORCH]
    code = "\n".join(
        [
            "import importlib, sys",
            f"for name in {modules}:",
            "    importlib.import_module(name)",
            "    assert not {'torch', 'timm', 'torchvision', 'sklearn'} & set(sys.modules), name",
            "    assert 'pandas' not in sys.modules, name",
        ]
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr

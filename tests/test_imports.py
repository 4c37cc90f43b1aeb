"""Who may import whom, and what may not bring torch."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PLUGINS = sorted((ROOT / "plugins").rglob("*.py"))
HARNESS = sorted((ROOT / "bench").rglob("*.py"))
WITHOUT_TORCH = (
    "", "api", "boundary", "cli", "config", "errors", "hookspecs", "keys",
    "cli.app", "contracts.recipe", "execution.worker_process", "inspection.installed", "inspection.plugins",
    "planning.planner",
    "published.nearest", "published.search", "registry.discovery", "registry.published",
    "registry.registry", "registry.scaffold", "report.page", "reporting.axes", "reporting.comparison_texts",
    "reporting.export", "reporting.formats", "reporting.formats.base", "reporting.formats.by_name",
    "reporting.pivot", "reporting.sidecar", "reporting.status", "reporting.table", "reporting.threads",
    "statistics.paired", "splits.stratified", "storage.artifacts",
    "storage.record_fields", "storage.records",
    "report.export", "report.pictures", "cli.upkeep", "storage.verifying", "storage.leftovers",
    "storage.upgrading", "bounded_files", "bounds", "plain_text",
)  # fmt: skip


# From the lowest. A package may import those of lower rows, and none of its own row.
LAYERS = (
    ("bounded_files", "bounds", "plain_text", "spelling"),
    ("errors", "keys", "hookspecs"),
    ("nn", "published"),
    ("config", "system", "metrics", "statistics", "storage"),
    ("boundary", "augmentation", "splits", "reporting"),
    ("contracts",),
    ("registry", "pretraining", "evaluation"),
    ("api", "planning", "testing"),
    ("report",),
    ("execution",),
    ("inspection",),
    ("cli",),
)
TOP = (
    "__init__", "__main__", "api", "boundary", "bounded_files", "bounds", "config", "errors", "hookspecs",
    "keys", "plain_text", "spelling",
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


def test_below_bench_are_packages_and_a_few_modules() -> None:
    modules = {path.stem for path in (ROOT / "bench").glob("*.py")}
    packages = {path.parent.name for path in (ROOT / "bench").glob("*/__init__.py")}
    layered = {name for row in LAYERS for name in row}

    assert modules == set(TOP)
    assert layered == (modules - {"__init__", "__main__"}) | packages


@pytest.mark.parametrize("path", HARNESS, ids=name_of)
def test_no_import_runs_upwards(path: Path) -> None:
    floor = {name: number for number, row in enumerate(LAYERS) for name in row}
    package = path.relative_to(ROOT / "bench").parts[0].removesuffix(".py")
    taken = {module.split(".")[1] for module, _ in imports(path) if module.startswith("bench.")}
    taken -= {package, "__init__"}

    if package not in {"__init__", "__main__"}:
        assert not {name for name in taken if floor[name] >= floor[package]}


@pytest.mark.parametrize("package", sorted((ROOT / "bench").rglob("__init__.py")), ids=name_of)
def test_a_package_says_what_it_is_for(package: Path) -> None:
    assert len((ast.get_docstring(ast.parse(package.read_text(encoding="utf-8"))) or "").split()) > 5


def test_no_two_modules_import_each_other() -> None:
    arrows = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): {
            name
            for module, names in imports(path)
            for name in (module, *(f"{module}.{name}" for name in names))
        }
        for path in HARNESS
    }
    above: dict[str, set[str]] = {}

    def reach(module: str) -> set[str]:
        if module not in above:
            above[module] = set()
            near = arrows[module] & arrows.keys() - {module, "bench"}  # which imports what is asked of it
            above[module] = near.union(*(reach(name) for name in near))
        return above[module]

    assert not [module for module in arrows if module in reach(module)]


def test_the_catalogue_of_formats_is_light_for_every_command_imports_it() -> None:
    code = "import sys, bench.reporting.formats; print({'torch', 'pandas', 'tabulate'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "set()"


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


def test_the_diagram_of_packages_says_each_once_and_its_arrows_are_imports() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    diagram = text.partition("```mermaid\n")[2].partition("```")[0]
    arrows = [re.sub(r"[\[(].*?[\])]+", "", line).split() for line in diagram.splitlines() if "-->" in line]
    labelled = re.findall(r"(\w+)[\[(]+\"", diagram)

    assert len(labelled) == len(set(labelled)) >= 18
    assert sorted(map(tuple, arrows)) == sorted(set(map(tuple, arrows)))
    for one, _, other in arrows:
        assert {one, other} <= set(labelled)
        files = PLUGINS if one == "plugins" else [path for path in HARNESS if one in (*path.parts, path.stem)]
        taken = {module for path in files for module, _ in imports(path)}
        assert any(module.startswith(f"bench.{other}") for module in taken), (one, other)

"""`bench.api` is what was promised, says which plugin must change, and is enough for the built-in plugins."""

from __future__ import annotations

import ast
import importlib
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import api_surface
import pytest
from environment import environment

import bench.api
from bench.contracts.deprecation import Deprecation

ROOT = Path(__file__).resolve().parent.parent
PLUGINS = sorted((ROOT / "plugins").rglob("*.py"))
WRITES = "python tests/api_surface.py"
EXAMPLE = ROOT / "examples" / "bench-example" / "bench_example"


def test_names_and_signatures_are_those_that_are_promised() -> None:
    assert api_surface.write_surface() == api_surface.FILE.read_text(encoding="utf-8"), (
        f"bench.api has changed: if on purpose, raise its VERSION and run `{WRITES}`"
    )


def test_the_surface_tells_a_changed_signature_and_a_name_that_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = api_surface.write_surface()

    def sinkhorn(scores: object, *, epsilon: float) -> None: ...

    monkeypatch.setitem(vars(bench.api), "sinkhorn", sinkhorn)
    changed = api_surface.write_surface()
    monkeypatch.setattr(bench.api, "__all__", [name for name in bench.api.__all__ if name != "Method"])

    assert changed != before
    assert "\nclass Method(" in changed
    assert "\nclass Method(" not in api_surface.write_surface()


def test_a_name_that_is_not_there_is_answered_with_the_nearest() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'Mehtod'\. Did you mean 'Method'"):
        _ = bench.api.Mehtod  # type: ignore[attr-defined]


# ---- deprecations


@pytest.fixture
def old_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Install a distribution that imports a name which will be gone, and return its module."""
    monkeypatch.setitem(bench.api.DEPRECATED, "old_projector", Deprecation("projector", (2, 0)))
    about = tmp_path / "bench_old-0.3.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: bench-old\nVersion: 0.3\n")
    (about / "entry_points.txt").write_text("[bench]\nold = old_plugin\n")
    (tmp_path / "old_plugin.py").write_text("from bench.api import old_projector\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "old_plugin"
    sys.modules.pop("old_plugin", None)


def test_a_name_that_will_be_gone_still_works_and_says_which_plugin_has_it(
    old_plugin: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        module = importlib.import_module(old_plugin)
        importlib.reload(module)

    assert module.old_projector is bench.api.projector
    (said,) = caplog.messages
    assert said == (
        "bench-old 0.3 (old_plugin): bench.api.old_projector will be gone in version 2.0 of the api. "
        "Write projector instead."
    )


def test_a_deprecated_name_is_promised_no_more_and_has_another() -> None:
    for name, deprecated in bench.api.DEPRECATED.items():
        assert name not in bench.api.__all__
        assert deprecated.instead in bench.api.__all__
        assert deprecated.gone > bench.api.VERSION


# ---- it is enough


@pytest.mark.parametrize("path", PLUGINS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_built_in_plugin_uses_of_the_harness_what_is_promised_and_nothing_else(path: Path) -> None:
    assert list(find_other_uses(ast.parse(path.read_text(encoding="utf-8")))) == []


def find_other_uses(tree: ast.Module) -> Iterator[str]:
    """Yield what a module uses of bench beside the names of `bench.api`."""
    docstrings = {
        id(node.body[0].value) for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and node.body
        and isinstance(node.body[0], ast.Expr)
    }  # fmt: skip
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names if alias.name.partition(".")[0] == "bench")
            case ast.ImportFrom(module=str(module), names=names, level=0) if module.split(".")[0] == "bench":
                unknown = [alias.name for alias in names if alias.name not in bench.api.__all__]
                yield from unknown if module == "bench.api" else [module]
            case ast.Constant(value=str(text)) if id(node) not in docstrings and text.startswith("bench."):
                yield text  # of importlib, or of sys.modules


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import bench.config", ["bench.config"]),
        ("from bench import config", ["bench"]),
        ("from bench.api import Method, importlib", ["importlib"]),
        ("import sys\nsys.modules['bench.config'].build", ["bench.config"]),
        ("def f():\n    from bench.storage.records import RecordStore", ["bench.storage.records"]),
        ('"""bench.config is fine here."""\nfrom bench.api import Method', []),
    ],
)
def test_whatever_way_another_use_is_written_it_is_found(source: str, found: list[str]) -> None:
    assert list(find_other_uses(ast.parse(source))) == found


# ---- it is typed


TYPED = """
from collections.abc import Sequence
from bench.api import Method, MomentumEncoder, Mehtod, nt_xent
from torch import Tensor

def wrong(a: Tensor) -> str:
    return nt_xent(a, a, 0.1)

def also(method: Method, views: Sequence[Tensor]) -> None:
    method.embed(views)
"""


@pytest.mark.long
def test_what_is_started_and_the_examples_pass_mypy_strict_and_mistakes_do_not(tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text(TYPED)
    command = [sys.executable, "-m", "bench", "plugins", "new"]
    for words in (["m"], *(["m-" + like, "--like", like] for like in ("byol", "moco", "swav", "mae"))):
        run([*command, *words, "--output", str(tmp_path)], tmp_path)
    for kind in ("backbone", "dataset", "evaluator", "executor", "format", "observer"):
        run([*command, f"k-{kind}", "--kind", kind, "--output", str(tmp_path)], tmp_path)
    sources = [str(path) for path in (*tmp_path.glob("bench-*/bench_*"), EXAMPLE)]
    right, wrong = check_types(*sources), check_types(str(tmp_path / "wrong.py"))

    assert right.returncode == 0, right.stdout
    assert '"bench.api" has no attribute "Mehtod"' in wrong.stdout
    assert 'got "Tensor", expected "str"' in wrong.stdout
    assert 'Missing positional argument "batch"' in wrong.stdout


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    own = environment()
    return subprocess.run(command, cwd=folder, env=own, capture_output=True, text=True, check=True)


def check_types(*paths: str) -> subprocess.CompletedProcess[str]:
    config = ("--config-file", "", "--strict", "--explicit-package-bases", "--untyped-calls-exclude", "torch")
    command = [sys.executable, "-m", "mypy", *config, *paths]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

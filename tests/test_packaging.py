"""A built wheel is all that is needed: no file of the checkout, no editable install."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OFFLINE = ("--no-deps", "--no-build-isolation", "--quiet", "--disable-pip-version-check", "--no-index")
SOURCES = ("bench", "plugins", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")


def run(*args: str, cwd: Path, path: Path | None = None) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "BENCH"))}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    command = [sys.executable, *args]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install a wheel, built from a copy so that nothing built earlier gets into it."""
    work = tmp_path_factory.mktemp("packaging")
    source, installed = work / "source", work / "installed"
    source.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif (ROOT / name).exists():
            shutil.copy(ROOT / name, source / name)
    run("-m", "pip", "wheel", *OFFLINE, "--wheel-dir", str(work), str(source), cwd=work)
    (wheel,) = work.glob("*.whl")
    run("-m", "pip", "install", *OFFLINE, "--target", str(installed), str(wheel), cwd=work)
    return installed


def test_the_wheel_holds_every_module_and_file(target: Path) -> None:
    for folder, package in (("bench", "bench"), ("plugins", "bench_plugins")):
        sources = [p.relative_to(ROOT / folder) for p in (ROOT / folder).rglob("*") if p.is_file()]
        wanted = {path for path in sources if path.suffix in {".c", ".py", ".txt", ".typed", ".csv"}}
        found = {p.relative_to(target / package) for p in (target / package).rglob("*") if p.is_file()}

        assert wanted - found == set()


def test_the_wheel_installs_no_package_called_plugins_or_tests(target: Path) -> None:
    assert not (target / "plugins").exists()
    assert not (target / "tests").exists()


def test_the_installed_copy_runs_by_itself(target: Path, tmp_path: Path) -> None:
    code = (
        "import bench, bench.registry.registry as r, importlib\n"
        "print(bench.__file__)\n"
        "for p in r.Registry.load().plugins: print(importlib.import_module(p.module).__file__)"
    )

    files = run("-c", code, cwd=tmp_path, path=target).split()
    listed = run("-m", "bench", "list", cwd=tmp_path, path=target)

    assert len(files) == 8
    assert all(Path(file).is_relative_to(target) for file in files)
    assert "simclr" in listed
    assert "timm" in listed


def test_the_command_and_its_version_are_installed(target: Path, tmp_path: Path) -> None:
    command = target / "bin" / "bench"

    assert command.exists()
    assert run(str(command), "--version", cwd=tmp_path, path=target).startswith("bench 0.")


def test_a_new_plugin_can_be_started_from_the_installed_copy(target: Path, tmp_path: Path) -> None:
    run("-m", "bench", "plugins", "new", "mine", cwd=tmp_path, path=target)

    assert (tmp_path / "bench-mine" / "bench_mine" / "mine.py").exists()

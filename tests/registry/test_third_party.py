"""Distributions of others: one that works, one that breaks, two that offer the same name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from environment import environment

from bench.cli.main import main

OFFLINE = ("--no-deps", "--no-build-isolation", "--quiet", "--disable-pip-version-check", "--no-index")
CATALOGUE = """
from bench.api import Offer, hookimpl

@hookimpl
def bench_methods():
    yield Offer("toy", ".toy:Toy", "Pull two views together.")

@hookimpl
def bench_datasets():
    yield Offer("toyset", ".toyset:Toyset", "Noisy stripes.")
"""

SAME = """
from bench.api import Offer, hookimpl

@hookimpl
def bench_methods():
    yield Offer("same", "m:C", "Says nothing.")
"""


def setup_cfg(dist: str, package: str) -> str:
    return (
        f"[metadata]\nname = {dist}\nversion = 2.3\n[options]\npackages = {package}\n"
        f"[options.entry_points]\nbench =\n    entry = {package}\n"
    )


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def started(folder: Path, name: str, kind: str) -> str:
    """Return the source that `bench plugins new` writes."""
    CliRunner().invoke(main, ["plugins", "new", name, "--kind", kind, "--output", str(folder)])
    return (folder / f"bench-{name}" / f"bench_{name}" / f"{name}.py").read_text()


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install all four distributions where only these tests look."""
    work = tmp_path_factory.mktemp("third-party")
    toy, toyset = started(work / "new", "toy", "method"), started(work / "new", "toyset", "dataset")
    works = {"toys/__init__.py": CATALOGUE, "toys/toy.py": toy, "toys/toyset.py": toyset}
    dists = {
        "toys": works,
        "breaks": {"breaks/__init__.py": "import a_library_that_is_not_there\n"},
        "same-one": {"same_one/__init__.py": SAME},
        "same-two": {"same_two/__init__.py": SAME},
    }
    folders = [
        str(write(work / dist, {"setup.cfg": setup_cfg(dist, dist.replace("-", "_")),
                                "setup.py": "import setuptools\nsetuptools.setup()\n", **files}))
        for dist, files in dists.items()
    ]  # fmt: skip
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        *OFFLINE,
        "--target",
        str(work / "installed"),
        *folders,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return work / "installed"


def bench(target: Path, cwd: Path, *args: str) -> subprocess.CompletedProcess[str]:
    own = environment(target, BENCH_DISABLE="")
    command = [sys.executable, "-m", "bench", *args]
    return subprocess.run(command, cwd=cwd, env=own, capture_output=True, text=True, check=False)


def test_its_plugins_are_listed_beside_the_built_in_ones(target: Path, tmp_path: Path) -> None:
    done = bench(target, tmp_path, "list")

    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line}
    assert done.returncode == 0
    assert lines["toy"].endswith("(toys 2.3)")
    assert lines["toyset"].endswith("(toys 2.3)")
    assert "ssl-bench" not in lines["simclr"]
    assert "Failed to load: breaks:entry" in done.stderr


def test_its_plugin_is_shown_and_checked(target: Path, tmp_path: Path) -> None:
    shown = bench(target, tmp_path, "show", "method", "toy")
    checked = bench(target, tmp_path, "plugins", "check", "toyset")

    assert "toys 2.3" in shown.stdout
    assert "embedding_dim" in shown.stdout
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "FAILED" not in checked.stdout


def test_one_that_raises_at_import_is_shown_as_failed(target: Path, tmp_path: Path) -> None:
    listed = bench(target, tmp_path, "plugins")
    doctor = bench(target, tmp_path, "plugins", "doctor")

    assert any("breaks:entry" in line and "FAILED" in line for line in listed.stdout.splitlines())
    assert "import: ModuleNotFoundError: No module named 'a_library_that_is_not_there'" in listed.stdout
    assert doctor.returncode == 1
    assert "Traceback" in doctor.stdout
    assert "-p no:breaks:entry" in doctor.stdout


def test_one_that_is_disabled_does_not_fail(target: Path, tmp_path: Path) -> None:
    done = bench(target, tmp_path, "-p", "no:breaks", "plugins", "doctor")

    assert done.returncode == 0


def test_a_name_offered_by_two_is_asked_for_in_full(target: Path, tmp_path: Path) -> None:
    short = bench(target, tmp_path, "show", "method", "same")
    full = bench(target, tmp_path, "show", "method", "same-one:same")

    assert short.returncode == 2
    assert "same-one:same and same-two:same" in short.stderr
    assert "same (of same-one 2.3): m:C cannot be imported" in full.stderr


@pytest.mark.long
def test_its_method_is_run_on_its_dataset(target: Path, tmp_path: Path) -> None:
    parts = ("--method", "toy", "--dataset", "toyset", "--backbone", "test_resnet", "--batch-size", "64")
    done = bench(target, tmp_path, "run", *parts, "--epochs", "1", "--eval", "linear", "--device", "cpu")

    assert done.returncode == 0, done.stderr
    assert "toy" in done.stdout

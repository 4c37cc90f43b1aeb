"""The example of a stranger's distribution: each of its plugins is used, and it is built and installed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from documented import FENCED
from foreign import forget_modules, install, make_environment, run_readme

from bench.cli.main import main
from bench.planning.open_datasets import Datasets
from bench.planning.planner import plan
from bench.planning.request import Request
from bench.registry.registry import Registry

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "bench-example"
USED = (
    "--method twist --backbone convmixer_small --eval lda --executor niced --log journal "
    "--epochs 1 --batch-size 32"
)
BUILT = """
pip wheel --wheel-dir wheels ./copy
pip install wheels/*.whl
"""
OWN = {
    "method": "twist", "backbone": "convmixer_small", "dataset": "gratings", "evaluator": "lda",
    "executor": "niced", "format": "typst", "logger": "journal",
}  # fmt: skip


def bench(*args: str) -> Result:
    return CliRunner().invoke(main, args)


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Have a copy of the example on the path, with its entry points."""
    copy = copied(tmp_path)
    install(copy, monkeypatch)
    monkeypatch.chdir(tmp_path)
    yield copy
    forget_modules("bench_example")


def copied(folder: Path) -> Path:
    """Copy the example without what was built of it."""
    built = shutil.ignore_patterns("__pycache__", "*.egg-info", "build", "results", ".*")
    return Path(shutil.copytree(EXAMPLE, folder / "copy", ignore=built))


@pytest.mark.usefixtures("example")
def test_each_plugin_is_used_through_the_command_line(tmp_path: Path) -> None:
    listed = bench("list").stdout
    trained = bench("run", *USED.split(), "--dataset", "digits", "--set", "dataset.max_train=64")
    table = bench("table", "--format", "typst")
    events = [json.loads(line) for line in (tmp_path / "results" / "logbook.jsonl").read_text().splitlines()]

    assert all(name in listed for name in OWN.values())
    assert (trained.exit_code, table.exit_code) == (0, 0), trained.output
    assert "twist" in table.stdout
    assert table.stdout.startswith("#figure(")
    assert [event["event"] for event in events if "twist" in event["title"]] == ["start", "end", "cell"]
    assert "lda/top1" in (tmp_path / "results" / "journal.txt").read_text()


@pytest.mark.usefixtures("example")
def test_its_data_can_be_told_apart_and_its_method_learns_to(tmp_path: Path) -> None:
    words = "--method twist --dataset gratings --backbone convmixer_small --eval lda --epochs 4"
    done = bench(
        "run",
        *words.split(),
        *["--batch-size", "64", "--executor", "in-process", "--set", "dataset.noise=0.1"],
    )
    (file,) = (tmp_path / "results" / "records").rglob("*.json")
    record = json.loads(file.read_text())

    assert done.exit_code == 0, done.output
    assert record["metrics"]["top1"]["value"] > 60  # of four classes
    assert record["protocol"]["selected"] == "shrinkage"


@pytest.mark.usefixtures("example")
def test_its_presets_are_shown_and_planned() -> None:
    shown = bench("show", "method", "simclr").stdout
    registry = Registry.load()
    axes: dict[str, Any] = {"method": ("simclr",), "backbone": ("convmixer_small",), "dataset": ("gratings",)}
    named = {
        "method.recipe": "sgd",
        "method.views": "gentle",
        "knn.protocol": "wu2018",
        "train.batch_size": 64,
    }
    settings = {name: (value,) for name, value in named.items()}
    (cell,) = plan(Request(**axes, evaluator=("knn",), settings=settings), registry, Datasets(registry))

    assert re.search(
        r"^  sgd +optimizer sgd, lr 0.06, .* bench-example 1.0.0 +our choice$", shown, re.MULTILINE
    )
    assert cell.training is not None
    assert (cell.training.optimizer, cell.training.lr) == ("sgd", pytest.approx(0.06 * 64 / 256))
    assert [view.crop_min for view in cell.views] == [0.5, 0.5]
    assert cell.evaluator.config.k == 200
    assert dict(cell.settings) == named


def test_its_own_tests_are_of_every_plugin() -> None:
    tests = "".join(file.read_text() for file in (EXAMPLE / "tests").glob("*.py"))
    modules = {file.stem for file in (EXAMPLE / "bench_example").glob("*.py")} - {"__init__"}

    assert modules == {name for name in modules if f"from bench_example.{name} import" in tests}


def test_its_readme_has_every_plugin() -> None:
    readme = (EXAMPLE / "README.md").read_text()

    assert all(
        f"| {kind.replace('dataset', 'data set')} | `{name}` |" in readme for kind, name in OWN.items()
    )


def test_its_wheel_is_built_installed_tested_and_run_as_a_strangers(tmp_path: Path) -> None:
    source, python = copied(tmp_path), make_environment(tmp_path / "own")
    installed = run_readme(BUILT, tmp_path, python)
    assert installed.returncode == 0, installed.stdout + installed.stderr
    where = "import bench_example; print(bench_example.__file__)"
    found = subprocess.run(
        [str(python), "-c", where], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    (block,) = FENCED.finditer((source / "README.md").read_text())
    commands = block[3].replace("pip install -e '.[test]'\n", "")  # what is installed is the wheel
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (source / "tests").rename(elsewhere / "tests")
    done = run_readme(commands, elsewhere, python)

    assert Path(found.stdout.strip()).is_relative_to(tmp_path / "own")
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
    assert "FAILED" not in done.stdout
    assert "#figure(" in done.stdout

"""`bench run`, `bench table` and `bench status`, from the outside."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import bench as package
from bench.cli.main import main

SMALL = [
    "--backbone", "test_resnet", "--image-size", "16", "--epochs", "1", "--batch-size", "32", "--eval", "knn",
    "--set", "dataset.max_train=32",
]  # fmt: skip
GRID = ["--method", "random,simclr", "--seed", "0,1", "--label-frac", "0.5,1"]


def bench(*args: str) -> Result:
    return CliRunner().invoke(main, args)


def files(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the results of a grid of eight cells."""
    folder = tmp_path_factory.mktemp("run") / "results"
    result = bench("run", *GRID, *SMALL, "--results", str(folder))

    assert result.exit_code == 0, result.output
    return folder


def test_the_table_is_the_only_thing_on_standard_output(tmp_path: Path) -> None:
    with (tmp_path / "table.md").open("w") as out:
        done = subprocess.run(
            [sys.executable, "-m", "bench", "run", "--method", "random", *SMALL],
            cwd=tmp_path, stdout=out, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    table = (tmp_path / "table.md").read_text()

    assert done.returncode == 0
    assert table.startswith("top1 in percent, seed 0, 95 % interval in brackets ")
    assert [line[0] for line in table.splitlines()[2:]] == ["|"] * 3
    assert "[1/1] random test_resnet digits seed 0 knn 100 %: top1 " in done.stderr
    assert "|" not in done.stderr


def test_an_error_in_a_process_of_its_own_is_one_line_without_a_traceback(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "run", "--method", "simclrr"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: no method is named 'simclrr'. Did you mean 'simclr'?")
    assert done.stderr.count("\n") == 1


def test_a_table_is_printed_where_its_signs_cannot_be(results: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "table", "--results", str(results)],
        env={**os.environ, "PYTHONIOENCODING": "iso8859-2:strict"}, capture_output=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0
    assert b" ? " in done.stdout


def test_a_second_run_makes_nothing_and_prints_the_same_table(results: Path) -> None:
    before = files(results)
    first = bench("run", *GRID, *SMALL, "--results", str(results))

    assert first.exit_code == 0
    assert files(results) == before
    assert first.stdout == bench("table", "--results", str(results)).stdout


def test_a_record_that_is_refused_is_told_of_once_and_made_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    args = ("run", "--method", "random", *SMALL, "--results", str(tmp_path))
    bench(*args)
    (path,) = tmp_path.rglob("records/**/*.json")
    path.write_text(path.read_text().replace('"random"', '"simclr"'))
    caplog.clear()
    result = bench(*args)
    told = [message for message in caplog.messages if message.startswith(str(path))]

    assert result.exit_code == 0, result.output
    assert len(told) == 2, told
    assert told[1] == f"{path}: made again; what was there is now {path.name}.rejected."


def test_a_grid_file_and_the_same_options_are_the_same_cells(results: Path, tmp_path: Path) -> None:
    grid = tmp_path / "grid.yaml"
    grid.write_text(
        "method: [random, simclr]\nbackbone: test_resnet\neval: linear\nlabel_frac: [0.5, 1]\nseed: 0,1\n"
        "image_size: 16\nepochs: 1\nbatch_size: 32\n"
        f"set: {{dataset.max_train: 1000}}\nresults: {results}\n"
    )
    before = files(results)
    result = bench("run", str(grid), "--eval", "knn", "--set", "dataset.max_train=32")

    assert result.exit_code == 0
    assert files(results) == before


def test_a_combination_that_cannot_work_is_skipped_with_its_reason(results: Path) -> None:
    folder = str(results.parent / "skipped")
    args = [*SMALL, "--method", "random", "--backbone", "test_nfnet", "--results", folder]
    result = bench("run", *args)

    assert result.exit_code == 0
    assert "skipped [1]" in result.stdout
    assert "[1] skipped: test_nfnet shrinks 16 px" in result.stdout
    assert "skipped: 1. These combinations cannot work" in bench("status", "--results", folder).stdout


def test_a_dry_run_makes_nothing_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = bench("run", "--dry-run", "--method", "random", *SMALL)

    assert result.exit_code == 0
    assert "random test_resnet digits seed 0" in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_needs_no_data_that_is_published(tmp_path: Path) -> None:
    words = [
        "run",
        "--method",
        "random",
        "--dataset",
        "cifar10",
        *SMALL,
        "--data-dir",
        str(tmp_path / "data"),
    ]
    dry, wet = (bench(*words, "--results", str(tmp_path / "results"), *more) for more in (("--dry-run",), ()))

    assert dry.exit_code == 0, dry.output
    assert "cifar10: its files are not here, so 50,000 train and 10,000 test images" in dry.stderr
    assert "Features: " in dry.stdout
    assert wet.exit_code == 2
    assert "Use --download" in wet.stderr
    assert not list(tmp_path.iterdir())


def test_a_cell_that_fails_is_exit_status_1_and_the_others_are_there(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    diverging = ["--set", "train.lr=1e30", "--set", "train.lr_scaling=none"]
    result = bench("run", "--method", "simclr,random", *SMALL, *diverging, "--results", str(folder))
    statuses = {r["cell"]["method"]: r["status"] for r in map(json.loads, _texts(folder))}

    assert result.exit_code == 1
    assert statuses == {"simclr": "failed", "random": "ok"}
    assert "failed [1]" in result.stdout
    assert "failed: 1." in bench("status", "--results", str(folder)).stdout


def test_what_is_set_by_a_name_stands_for_what_is_set_by_its_role(tmp_path: Path) -> None:
    both = ["--set", "dataset.max_train=500,600", "--set", "digits.max_train=32", "--method", "random"]
    kept = SMALL[: SMALL.index("--set")]
    result = bench("run", *both, *kept, "--results", str(tmp_path))
    (record,) = map(json.loads, _texts(tmp_path))

    assert result.exit_code == 0
    assert record["settings"] == {"train.image_size": 16, "digits.max_train": 32}


def _texts(folder: Path) -> list[str]:
    return [path.read_text() for path in (folder / "records").rglob("*.json")]


@pytest.mark.parametrize(
    ("form", "start"),
    [
        ("github", "top1 in percent, mean ± std over seeds (n=2)"),
        ("plain", "top1 in percent"),
        ("csv", "method,backbone,"),
        ("json", "[\n"),
        ("latex", r"% needs \usepackage{booktabs,graphicx,siunitx}"),
        ("html", "<!doctype html>"),
    ],
)
def test_a_table_has_every_format_on_standard_output_and_in_a_file(
    results: Path, tmp_path: Path, form: str, start: str
) -> None:
    printed = bench("table", "--results", str(results), "--format", form)
    output = tmp_path / "table"
    written = bench("table", "--results", str(results), "--format", form, "--output", str(output))

    assert printed.exit_code == written.exit_code == 0
    assert printed.stdout.startswith(start)
    assert output.read_text(encoding="utf-8") == printed.stdout
    assert written.output == ""


def test_a_table_for_scripts_has_a_row_a_cell(results: Path) -> None:
    text = bench("table", "--results", str(results), "--format", "csv").stdout
    rows = list(csv.DictReader(text.splitlines()))

    assert [(row["method"], row["label_frac"], row["n"]) for row in rows] == [
        ("random", "0.5", "2"), ("random", "1.0", "2"), ("simclr", "0.5", "2"), ("simclr", "1.0", "2"),
    ]  # fmt: skip
    assert json.loads(bench("table", "--results", str(results), "--format", "json").stdout)[0]["n"] == 2


def test_a_table_has_the_axes_and_metrics_that_are_asked_for(results: Path) -> None:
    args = ("--rows", "label_frac", "--cols", "method,seed", "--metric", "balanced_accuracy")
    lines = bench("table", "--results", str(results), *args).stdout.splitlines()

    assert lines[0].startswith("balanced_accuracy in percent")
    assert "random / seed=0" in lines[2]
    assert len(lines) == 2 + 2 + 2


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("--format markdwn", "no format is named 'markdwn'. Did you mean 'github'? Known: csv, github, html"),
        ("--format githb", "Did you mean 'github'?"),
        ("--metric top2", "--metric: no record has a metric 'top2'. Did you mean 'top5' or 'top1'"),
        ("--rows methd", "--rows: no axis is named 'methd'. Did you mean 'method'"),
        ("--cols train.epoch", "Did you mean 'train.epochs'"),
        ("--rows method --cols method", "method"),
        ("--output none/table.md", "--output: none/table.md cannot be written (No such file or directory)."),
        ("--output .", "is a directory"),
    ],
)
def test_a_table_that_cannot_be_made_is_one_line(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = bench("table", "--results", str(results), *args.split())

    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_status_counts_cells_and_what_they_take_on_disk(results: Path) -> None:
    lines = bench("status", "--results", str(results)).stdout.splitlines()

    assert ["all", "8", "0", "0"] in [line.split() for line in lines]
    assert "  digits: the test split is a fifth of each class, drawn with seed 0" in lines
    assert lines[-1].startswith("artifacts: ")
    assert str(results / "artifacts") in lines[-1]


def test_the_frame_of_python_is_of_the_same_records(results: Path) -> None:
    frame = package.results(results)

    assert len(frame[frame.metric == "top1"]) == 8
    assert set(frame["dataset.max_train"]) == {32}


@pytest.mark.long  # tests/execution/test_processes.py has the same of processes that die
def test_jobs_make_the_same_records_as_one_process(results: Path, tmp_path: Path) -> None:
    args = [*SMALL, "--method", "random", "--seed", "0,1", "--results", str(tmp_path), "--jobs", "2"]
    result = bench("run", *args)
    one, two = (package.results(folder) for folder in (results, tmp_path))
    same = one[(one.method == "random") & (one.label_frac == 1)]

    assert result.exit_code == 0, result.output
    assert two["value"].tolist() == same["value"].tolist()

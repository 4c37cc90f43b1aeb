"""Two folders of one's own, as a person sees them: in `bench run`, `bench table` and `bench status`."""

from __future__ import annotations

import pytest
from click.testing import CliRunner, Result
from photos import photos

from bench.cli.main import main

DRAWN = "the test split is a fifth of each class, drawn with seed 0"
GRID = [
    "run", "--method", "simclr", "--backbone", "test_resnet", "--eval", "knn", "--set", "knn.k=3",
    "--image-size", "16", "--epochs", "1", "--batch-size", "8", "--dataset", "image_folder",
]  # fmt: skip


def bench(*words: str) -> Result:
    return CliRunner().invoke(main, words)


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return a command line that trains on one of two folders and evaluates on both."""
    folder = tmp_path_factory.mktemp("own")
    holiday = photos(folder / "holiday", {"train": 8})
    garden = photos(folder / "garden", {"train": 8, "test": 4})
    both = f"eval_dataset.root={holiday},{garden}"
    own = ["--set", f"dataset.root={holiday}", "--set", both, "--results", str(folder / "results")]
    return [*GRID, *own, "--data-dir", str(folder / "data")]


@pytest.fixture(scope="module")
def ran(grid: list[str]) -> Result:
    """Return what the run says."""
    result = bench(*grid)

    assert result.exit_code == 0, result.output
    return result


@pytest.fixture
def results(grid: list[str]) -> tuple[str, str]:
    """Return the option that says where its records are."""
    return "--results", grid[grid.index("--results") + 1]


def test_what_is_noted_of_data_is_printed_by_run_table_and_status(
    ran: Result, results: tuple[str, str]
) -> None:
    note = f"holiday: {DRAWN}"

    assert note in ran.stdout.splitlines()[0]
    assert note in bench("table", *results).stdout.splitlines()[0]
    assert f"  {note}" in bench("status", *results).stdout.splitlines()
    assert f"garden: {DRAWN}" not in ran.stdout


def test_a_run_begins_with_what_each_folder_was_taken_for(ran: Result, grid: list[str]) -> None:
    assert ran.stderr.splitlines()[:2] == [
        "holiday: train 18, test 6 (drawn) images, 3 classes (ant, bee, cow), 12x12, colour.",
        "garden: train 24, test 12 images, 3 classes (ant, bee, cow), 12x12, colour.",
    ]
    assert bench(*grid, "--dry-run").stderr.splitlines()[:2] == ran.stderr.splitlines()[:2]


def test_the_folder_that_was_trained_on_is_marked(ran: Result, results: tuple[str, str]) -> None:
    caption, _, head, _, row = ran.stdout.splitlines()
    columns, cells = ([cell.strip() for cell in line.strip("|").split("|")] for line in (head, row))

    assert "trained on holiday" in caption
    assert columns[1:] == ["on holiday", "on garden"]
    assert ["†" in cell for cell in cells[1:]] == [True, False]
    chosen = bench("table", *results, "--where", "eval_dataset=image_folder").stdout
    assert chosen == bench("table", *results).stdout

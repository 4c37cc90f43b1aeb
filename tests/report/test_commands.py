"""The commands of a report make the cells that the records are of, and no others."""

from __future__ import annotations

import itertools
import random
import shlex
from pathlib import Path
from typing import Any

import pytest
from report_pages import trained

from bench.cli.main import main
from bench.execution.cell_record import blank_record
from bench.planning.cells import Cell
from bench.planning.grid_file import read_value
from bench.planning.open_datasets import Datasets
from bench.planning.options import merge_options
from bench.planning.planner import plan
from bench.registry.registry import Registry
from bench.report.commands import factorise, list_commands, write_value

TINY = ("--backbone", "test_resnet", "--image-size", "16")


def plan_cells(words: list[str]) -> dict[str, Cell]:
    """Return the cells that `bench run` would make, by the key of their score."""
    options = main.commands["run"].make_context("run", list(words)).params
    options["set"] = options.pop("set_")
    grid, _ = options.pop("grid"), options.pop("dry_run")
    registry = Registry.load()
    cells = plan(merge_options(grid, options).request("float32"), registry, Datasets(registry, Path("data")))
    return {cell.keys.score: cell for cell in cells}


def as_records(planned: dict[str, Cell]) -> list[dict[str, Any]]:
    return [{**blank_record(cell, {}), "status": "ok"} for cell in planned.values()]


def plan_all(commands: list[str]) -> list[str]:
    planned = [plan_cells(shlex.split(command.replace("\\\n", " "))[2:]) for command in commands]
    return sorted(key for one in planned for key in one)


@pytest.mark.parametrize(
    "words",
    [
        ("--method", "simclr,vicreg,supervised,random", "--eval", "linear,knn", "--label-frac", "0.1,1",
         "--seed", "0,1", "--epochs", "3"),
        ("--method", "random,pixels", "--eval", "knn,geometry", "--label-frac", "0.5"),
        ("--method", "simclr,random", "--set", "train.lr=0.1,0.5", "--set", "knn.k=5,20",
         "--eval", "knn,linear"),
        ("--set", "views.ops=[crop,flip]", "--set", "simclr.temperature=0.1,0.2", "--seed", "7"),
        ("--eval", "linear,geometry", "--label-frac", "0.1,1", "--set", "geometry.rows=50"),
        ("--method", "random", "--eval", "knn,linear", "--label-frac", "0.002,0.1", "--keep-one"),
        ("--set", "train.chunk_size=null", "--batch-size", "64,128", "--eval", "geometry,label-fraction"),
    ],
)  # fmt: skip
def test_the_commands_plan_the_cells_of_the_records(words: tuple[str, ...]) -> None:
    planned = plan_cells([*words, *TINY])
    commands = list_commands(as_records(planned))

    assert plan_all(commands) == sorted(planned)


def test_a_setting_that_only_some_cells_were_given_is_in_the_command_of_these_alone() -> None:
    with_it = plan_cells(["--seed", "0", "--epochs", "3", *TINY])
    without = plan_cells(["--seed", "1", *TINY])
    commands = list_commands(as_records(with_it | without))

    assert plan_all(commands) == sorted(with_it | without)
    assert sorted("--epochs 3" in command for command in commands) == [False, True]


def test_only_cells_that_keep_an_image_of_each_class_are_in_a_command_that_says_so() -> None:
    words = ["--method", "random", "--eval", "knn", *TINY, "--label-frac"]
    kept, plain = plan_cells([*words, "0.002", "--keep-one"]), plan_cells([*words, "0.1"])
    commands = list_commands(as_records(kept | plain))

    assert plan_all(commands) == sorted(kept | plain)
    assert sorted("--keep-one" in command.split() for command in commands) == [False, True]


def test_one_grid_is_one_command() -> None:
    words = (
        "--method",
        "simclr,random",
        "--eval",
        "linear,geometry",
        "--label-frac",
        "0.1,1",
        "--epochs",
        "3",
    )
    commands = list_commands(as_records(plan_cells([*words, *TINY])))

    assert len(commands) == 1


def test_a_cell_that_is_missing_from_a_grid_is_in_no_command() -> None:
    planned = plan_cells(["--method", "simclr,random", "--eval", "linear,knn", "--seed", "0,1,2", *TINY])
    records = as_records(planned)
    gone = records.pop(3)

    assert plan_all(list_commands(records)) == sorted(set(planned) - {gone["keys"]["score"]})


def test_grids_have_exactly_the_points_that_they_were_made_of() -> None:
    generator = random.Random(0)  # noqa: S311 - for a test
    for _ in range(200):
        space = list(itertools.product(("a", "b", None), ("c", "d"), ("e", None, "f")))
        points = generator.sample(space, generator.randint(1, len(space)))
        boxes = factorise(points)
        made = [point for box in boxes for point in itertools.product(*(values or (None,) for values in box))]

        assert sorted(made, key=repr) == sorted(points, key=repr)


@pytest.mark.parametrize(
    "value",
    [
        1,
        0.5,
        1e-6,
        True,
        None,
        "lars",
        "1e-4",
        "null",
        "true",
        "a, b",
        'say "x"',
        "~",
        ["crop", "a,b"],
        [[1]],
    ],
)
def test_a_value_is_read_as_it_was(value: Any) -> None:
    assert read_value(write_value(value), "here") == value


def test_threads_are_named_where_all_records_have_one_number_of_them() -> None:
    records = [trained(seed=0), trained(seed=1)]
    assert list_commands(records)[0].endswith("--threads 1")

    records[1]["cost"]["threads"] = {"pretrain": [4]}
    assert "--threads" not in list_commands(records)[0]


def test_a_setting_with_signs_of_the_shell_stays_one_word() -> None:
    (command,) = list_commands([trained(settings={"dataset.root": "a b; rm -rf $HOME 'x'"})])
    words = shlex.split(command.replace("\\\n", " "))

    assert words[words.index("--set") + 1] == "dataset.root=\"a b; rm -rf $HOME 'x'\""


def test_a_long_command_goes_on_in_the_next_line() -> None:
    (command,) = list_commands([trained(settings={f"method.field{n}": n for n in range(12)})])

    assert max(map(len, command.splitlines())) < 115
    assert all(line.endswith("\\") for line in command.splitlines()[:-1])


def test_numbers_ascend_and_names_that_look_like_numbers_keep_their_order() -> None:
    records = [trained(seed=seed, evaluator=name) for seed in (10, 9) for name in ("e1", "e0", "1.2.3", "-")]
    (command,) = list_commands(records)

    assert "--eval e1,e0,1.2.3,- " in command
    assert "--seed 9,10 " in command

"""What a grid file or an option may mean is bounded, and what is more is one line at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.config import build
from bench.contracts.recipe import MOST_EPOCHS, TrainConfig
from bench.errors import BadValue, UnknownName, UsageError
from bench.planning.checks import MOST_CELLS, refuse_early
from bench.planning.grid_file import MOST_BYTES, read_grid, read_value
from bench.planning.options import Options, merge_options
from bench.registry.registry import Registry

KNOWN = ("method", "seed", "set")
LAUGHS = "\n".join(
    ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9))]
)
CHAIN = "[" + ", ".join(["&a0 [x]", *(f"&a{n} [*a{n - 1}]" for n in range(1, 500))]) + "]"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LAUGHS, "more than 50,000 values"),
        (f"set: {CHAIN}", "too deep"),
        ("seed: &a [*a]", "a value is part of itself"),
        ("set: &a {x.y: *a}", "a value is part of itself"),
        (f"seed: {'[' * 40}{']' * 40}", "too deep"),
        (f"seed: {'[' * 50_000}", "too deep"),
        (f"method: {'x' * 1_000_000}", "it is longer than 100,000 letters"),
        (f"seed: {list(range(200_000))}", "it is longer than 100,000 letters"),
        (f"seed: {'9' * 5000}", "Exceeds the limit"),
    ],
)
def test_a_file_that_means_more_than_anyone_writes_is_one_line(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as refused:
        read_grid(path, KNOWN)

    assert str(refused.value).startswith(f"{path}: the grid file is not readable as YAML (")
    assert message in str(refused.value)
    assert len(str(refused.value)) < 500


def test_an_alias_may_be_used_as_people_do(tmp_path: Path) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text("seed: &some [0, 1]\nset: {knn.k: *some, simclr.temperature: *some}\n")

    assert read_grid(path, KNOWN)["set"] == {"knn.k": [0, 1], "simclr.temperature": [0, 1]}


def test_a_file_without_end_is_read_no_further_than_its_bound() -> None:
    with pytest.raises(UsageError, match=r"/dev/zero: .* \(.*\)\.$"):
        read_grid(Path("/dev/zero"), KNOWN)


def test_a_value_on_the_command_line_is_bounded_likewise() -> None:
    with pytest.raises(BadValue, match=r"^--set x.y: 'xxx.{55}… is not readable as YAML \(it is longer than"):
        read_value("x" * (MOST_BYTES + 1), "--set x.y")


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.load()


def options(**given: object) -> Options:
    return merge_options(None, given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"set": ("train.lr=1e308",)}, "train.lr: 1e+308 is out of range: single precision holds"),
        ({"set": (f"train.lr=1{'0' * 400}",)}, "train.lr: a whole number of 1329 bits is out of range."),
        ({"set": ("train.budget=1e308",)}, "train.budget: 1e+308 is out of range: single precision holds"),
        ({"set": (f"train.batch_size={10**30}",)}, "train.batch_size: a whole number of 100 bits is out of"),
        ({"set": (f"train.epochs={10**9}",)}, "train.epochs: 1e+09 is out of range. Use at least 1"),
        ({"set": ('backbone.weights="a\\0"',)}, r"test_resnet.weights: 'a\x00' has a NUL in it."),
        ({"set": ('dataset.classes=[b,"a\\0"]',)}, r"digits.classes: 'a\x00' has a NUL in it."),
        ({"seed": (f"{10**30}",)}, "--seed: an enormous number is not a whole number of at least 0."),
        ({"label_frac": (f"1{'0' * 400}",)}, "--label-frac: an enormous number is not a number."),
        ({"seed": (",".join(map(str, range(200))),), "set": (f"knn.k={','.join(map(str, range(200)))}",)},
         f"200 values, the grid 40,000 cells. A grid has at most {MOST_CELLS:,}: make several of it."),
    ],
)  # fmt: skip
def test_a_value_that_nothing_can_be_computed_with_is_one_line(
    registry: Registry, given: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError) as refused:
        refuse_early(options(**{"eval": ("knn",), **given}), registry)

    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["method", "results"])
def test_a_name_with_a_nul_is_one_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text(f'{name}: "a\\0b"\n')
    with pytest.raises(BadValue, match=rf"grid.yaml: {name}: 'a\\x00b' has a NUL in it"):
        merge_options(path, {})


@pytest.mark.parametrize("kind", ["method", "dataset"])
def test_a_name_of_any_length_gets_a_short_answer(registry: Registry, kind: str) -> None:
    with pytest.raises(UnknownName) as refused:
        refuse_early(options(**{kind: ("x" * 90_000,)}), registry)

    assert len(str(refused.value)) <= 4000
    assert str(refused.value).endswith(".")


def test_the_largest_number_of_epochs_can_be_asked_for() -> None:
    assert build(TrainConfig, {"epochs": MOST_EPOCHS}, "train").epochs == MOST_EPOCHS

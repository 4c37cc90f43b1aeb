"""A grid file, and values after `--set`: YAML as people write it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.errors import BadValue, UnknownName, UsageError
from bench.planning.grid_file import Loader, read_grid, read_value, split
from bench.planning.options import merge_options

KNOWN = ("method", "label_frac", "seed", "set")
DOCS = Path(__file__).parents[2] / "docs" / "grid-files.md"


def grid(folder: Path, text: str | bytes) -> Path:
    path = folder / "grid.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4), ("1E3", 1000.0), ("-1.5e+2", -150.0), (".5", 0.5), ("3.", 3.0), ("1", 1), ("-2", -2),
        ("0", 0), (".inf", float("inf")), ("true", True), ("FALSE", False), ("null", None), ("~", None),
        ("no", "no"), ("on", "on"), ("010", "010"), ("1_000", "1_000"), ("12:30", "12:30"), ("0x10", "0x10"),
        ("2024-01-31", "2024-01-31"), ("1e", "1e"), (".", "."), ("nan", "nan"), ("'1'", "1"),
        ("[a, 1e-2]", ["a", 0.01]),
    ],
)  # fmt: skip
def test_plain_values_are_those_of_yaml_1_2(text: str, value: Any) -> None:
    result = read_value(text, "here")

    assert result == value
    assert isinstance(result, type(value))
    assert isinstance(value, list) or type(result) is type(value)


def test_a_list_remembers_how_its_items_are_written() -> None:
    result = read_value("[1e5, no, 007, 'true']", "here")

    assert result == [1e5, "no", "007", "true"]
    assert result.texts == ["1e5", "no", "007", "true"]


def test_the_loader_of_pyyaml_itself_is_left_as_it_was() -> None:
    assert yaml.safe_load("no") is False
    assert Loader.yaml_implicit_resolvers is not yaml.SafeLoader.yaml_implicit_resolvers


@pytest.mark.parametrize(
    "text", ["[1", "{a: 1, a: 2}", "a: b: c", "!!int x", "!!python/name:os.system", "[" * 3000]
)
def test_what_is_not_yaml_is_one_line_that_says_where(text: str) -> None:
    with pytest.raises(BadValue, match=r"^--set x\.y: .* is not readable as YAML \(.+\)\.$"):
        read_value(text, "--set x.y")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a", ["a"]), ("a,b", ["a", "b"]), ("[a,b],c", ["[a,b]", "c"]), ("{a: [1,2]},3", ["{a: [1,2]}", "3"]),
        ("'a,b',c", ["'a,b'", "c"]), ('"a,b"', ['"a,b"']), ("o'brien,b", ["o'brien", "b"]),
        ("a],b", ["a]", "b"]),
    ],
)  # fmt: skip
def test_text_is_split_at_commas_in_no_bracket_and_no_quotes(text: str, parts: list[str]) -> None:
    assert split(text, "here") == parts


@pytest.mark.parametrize("text", ["", " ", ",", "a,", ",a", "a,,b", "a, ,b"])
def test_an_empty_value_is_refused(text: str) -> None:
    with pytest.raises(BadValue, match=r"^--seed: .*empty"):
        split(text, "--seed")


def test_a_grid_file_may_write_its_names_with_either_sign(tmp_path: Path) -> None:
    text = "label-frac: 0.1\nmethod: [simclr, vicreg]\nset: {train.lr: 1e-4}\n"

    assert read_grid(grid(tmp_path, text), KNOWN) == {
        "label_frac": 0.1,
        "method": ["simclr", "vicreg"],
        "set": {"train.lr": 1e-4},
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("# only a comment\n", "is empty"),
        ("- method\n", "holds a list"),
        ("simclr\n", "holds no options"),
        ("method: [simclr\n", r"not readable as YAML \(line 2: "),
        ("method: a\nmethod: b\n", r"line 2: 'method' is there twice"),
        ("set:\n  train.lr: 1\n  train.lr: 2\n", r"line 3: 'train.lr' is there twice"),
        ("label_frac: 1\nlabel-frac: 1\n", "label_frac is there twice, with - and with _"),
        ("a: 1\n---\nb: 1\n", "another document"),
        ("? [a]\n: 1\n", "unhashable key"),
        (b"method: \xff\n", "not UTF-8"),
        ("method: \x00\n", "not readable as YAML"),
    ],
)
def test_a_file_that_holds_no_options_is_one_line(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        read_grid(grid(tmp_path, text), KNOWN)

    assert str(error.value).startswith(str(tmp_path / "grid.yaml"))
    assert "\n" not in str(error.value)


def test_an_unknown_option_gets_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(
        UnknownName, match=r"named 'methods'\. Did you mean 'method'\? Known: label_frac, method"
    ):
        read_grid(grid(tmp_path, "methods: simclr\n"), KNOWN)


def test_a_file_that_is_not_there_or_is_a_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no such grid file\. Name a YAML file; .* --method\."):
        read_grid(tmp_path / "none.yaml", KNOWN)
    with pytest.raises(UsageError, match="cannot be read"):
        read_grid(tmp_path, KNOWN)


def test_every_example_of_the_documentation_is_read(tmp_path: Path) -> None:
    examples = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    options = [merge_options(grid(tmp_path, example), {}) for example in examples]

    assert len(options) >= 2
    assert options[0].axes["evaluator"] == ("linear", "knn")

"""A grid file and options of a command line become one request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest

from bench.cli.main import main
from bench.errors import BadValue
from bench.planning.options import AXES, RUNTIME, TRAINING, Runtime, merge_options
from bench.planning.request import Request


def merge_with_file(folder: Path, text: str, **options: Any) -> Any:
    path = folder / "grid.yaml"
    path.write_text(text)
    return merge_options(path, options)


def test_no_options_are_the_default_request() -> None:
    nothing = merge_options(None, {"method": (), "epochs": (), "set": (), "results": None, "download": None})

    assert nothing.request("float32") == Request()
    assert Runtime(**nothing.runtime) == Runtime()


def test_the_command_line_and_a_grid_file_have_the_same_names() -> None:
    run = main.commands["run"]
    names = {max(p.opts, key=len).removeprefix("--") for p in run.params if isinstance(p, click.Option)}

    assert {name.replace("_", "-") for name in (*AXES, *TRAINING, *RUNTIME, "set")} == names - {"dry-run"}


def test_a_file_and_a_command_line_with_the_same_options_are_the_same(tmp_path: Path) -> None:
    text = """
method: [simclr, vicreg]
eval: knn
label_frac: [0.1, 1]
seed: 0,1
epochs: [5, 10]
image_size: 16
precision: float32
set:
  method.temperature: [0.1, 1e-4]
  dataset.classes: [[cat, dog]]
results: out
jobs: 2
download: true
packed: true
"""
    command_line = merge_options(
        None,
        {
            "method": ("simclr,vicreg",),
            "eval": ("knn",),
            "label_frac": ("0.1", "1"),
            "seed": ("0,1",),
            "epochs": ("5,10",),
            "image_size": ("16",),
            "precision": ("float32",),
            "set": ("method.temperature=0.1,1e-4", "dataset.classes=[cat,dog]"),
            "results": "out",
            "jobs": "2",
            "download": True,
            "packed": True,
        },
    )

    assert merge_with_file(tmp_path, text) == command_line
    assert command_line.request("bfloat16") == Request(
        method=("simclr", "vicreg"),
        evaluator=("knn",),
        label_frac=(0.1, 1.0),
        seed=(0, 1),
        settings={
            "train.epochs": (5, 10),
            "train.image_size": (16,),
            "train.precision": ("float32",),
            "method.temperature": (0.1, 0.0001),
            "dataset.classes": (["cat", "dog"],),
        },
        auto_precision="bfloat16",
    )
    assert command_line.runtime == {"results": Path("out"), "jobs": 2, "download": True, "packed": True}


def test_an_option_replaces_that_of_the_file_and_no_other(tmp_path: Path) -> None:
    text = "method: [simclr, vicreg]\nseed: [0, 1]\ndevice: cuda\ndownload: true\n"
    merged = merge_with_file(tmp_path, text, method=("random",), device="cpu", download=False)

    assert merged.axes == {"method": ("random",), "seed": (0, 1)}
    assert merged.runtime == {"device": "cpu", "download": False}


def test_set_goes_over_the_file_a_setting_at_a_time(tmp_path: Path) -> None:
    text = "set: {method.temperature: [0.1, 0.5], train.lr: 1}\n"

    assert merge_with_file(tmp_path, text, set=("train.lr=2,3",)).settings == {
        "method.temperature": (0.1, 0.5),
        "train.lr": (2, 3),
    }


@pytest.mark.parametrize("text", ["epochs: 5\n", "set: {train.epochs: 5}\n"])
@pytest.mark.parametrize("options", [{"epochs": ("7",)}, {"set": ("train.epochs=7",)}])
def test_a_short_option_is_the_setting_it_is_short_for(
    tmp_path: Path, text: str, options: dict[str, Any]
) -> None:
    assert merge_with_file(tmp_path, text, **options).settings == {"train.epochs": (7,)}


def test_a_value_that_is_named_twice_counts_once() -> None:
    axes = {"method": ("a,b", "a"), "seed": ("0,0,1",), "label_frac": ("1,1.0",)}
    settings = ("method.x=0.1,1e-1", "dataset.classes=[a,b],[a,b]", "method.flag=1,true")
    options = merge_options(None, {**axes, "set": settings})

    assert options.axes == {"method": ("a", "b"), "seed": (0, 1), "label_frac": (1.0,)}
    assert options.settings == {
        "method.x": (0.1,),
        "dataset.classes": (["a", "b"],),
        "method.flag": (1, True),
    }


def test_names_are_not_read_as_yaml_on_the_command_line() -> None:
    assert merge_options(None, {"dataset": (" 010 , null,true",)}).axes["dataset"] == ("010", "null", "true")


def test_an_entry_of_a_list_in_a_file_is_not_split(tmp_path: Path) -> None:
    text = 'set: {dataset.root: ["birds, all"], backbone.weights: "007", method.x: "1,2"}\n'

    assert merge_with_file(tmp_path, text).settings == {
        "dataset.root": ("birds, all",),
        "backbone.weights": ("007",),
        "method.x": (1, 2),
    }


def test_quotes_keep_a_comma_on_the_command_line() -> None:
    options = merge_options(None, {"set": ("dataset.root='birds, all',b", "method.x=null")})

    assert options.settings == {"dataset.root": ("birds, all", "b"), "method.x": (None,)}


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    assert merge_with_file(tmp_path, "results: ~/out\n").runtime == {"results": tmp_path / "out"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": ("",)}, "--method: it is empty"),
        ({"method": ("a,,b",)}, "--method: a value of 'a,,b' is empty"),
        ({"seed": ("x",)}, "--seed: 'x' is not a whole number of at least 0."),
        ({"seed": ("-1",)}, "--seed: -1 is not a whole number"),
        ({"seed": ("1.0",)}, "--seed: 1.0 is not a whole number"),
        ({"seed": ("010",)}, "--seed: '010' is not a whole number"),
        ({"label_frac": ("10%",)}, "--label-frac: '10%' is not a number. Use a share like 0.1."),
        ({"jobs": "0"}, "--jobs: 0 is not a whole number of at least 1."),
        ({"jobs": "two"}, "--jobs: 'two' is not a whole number of at least 1."),
        ({"results": ""}, "--results: it is empty"),
        ({"device": ""}, "--device: it is empty"),
        ({"results": "~nobody-of-that-name/x"}, "is the home of nobody here"),
        ({"set": ("temperature=1",)}, "--set: 'temperature' is not PART.FIELD."),
        ({"set": ("method.temperature",)}, "--set: 'method.temperature' is not PART.FIELD=VALUE."),
        ({"set": ("method.temperature=",)}, "is not PART.FIELD=VALUE."),
        ({"set": ("=1",)}, "--set: '' is not PART.FIELD."),
        ({"set": ("a.b=1", "a.b =2")}, "--set a.b: it is set twice."),
        ({"set": ("a.b=1,",)}, "--set a.b: a value of '1,' is empty."),
        ({"set": ("a.b=[1",)}, "--set a.b: '[1' is not readable as YAML"),
        ({"set": ("train.epochs=1",), "epochs": ("2",)}, "--epochs: train.epochs is set too"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_by_its_option(options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadValue) as error:
        merge_options(None, options)

    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("method: []", "method: there is no value"),
        ("method:", "method: it is empty"),
        ("method: 3", "method: 3 is not a name"),
        ("method: [simclr, true]", "method: True is not a name"),
        ("method: {a: 1}", "method: {'a': 1} is not a name"),
        ("seed: true", "seed: True is not a whole number"),
        ("seed: ['0']", "seed: '0' is not a whole number"),
        ("label_frac: true", "label_frac: True is not a number"),
        ("epochs: []", "epochs: there is no value"),
        ("jobs: true", "jobs: True is not a whole number"),
        ("download: 1", "download: 1 is neither true nor false"),
        ("results: 3", "results: 3 is not a name. Write a name, in quotes"),
        ("device: [cpu]", "device: ['cpu'] is not a name"),
        ("set: [a.b=1]", "set: ['a.b=1'] is not a mapping"),
        ("set: {method: {temperature: 1}}", "set: 'method' is not PART.FIELD"),
        ("set: {method.temperature: []}", "set method.temperature: there is no value"),
        ("set: {train.epochs: 1}\nepochs: 2", "epochs: train.epochs is set too"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_by_its_file(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BadValue) as error:
        merge_with_file(tmp_path, text)

    assert str(error.value).startswith(f"{tmp_path / 'grid.yaml'}: {message}")

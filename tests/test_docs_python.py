"""The Python of the documentation runs, keeps the contracts, and counts as the command line does."""

from __future__ import annotations

import importlib
import inspect
import json
import math
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from documented import Block, block_with, in_language
from made_records import make, sweep

import bench.api
from bench import hookspecs
from bench.api import Recipe, View
from bench.published.results import list_rows, parse_row, refuse_impossible
from bench.registry.registry import Registry
from bench.reporting.table import build_table
from bench.storage.records import RecordStore
from bench.testing import check_backbone, check_dataset, check_evaluator, check_executor, check_method

CELL = ("method", "backbone", "dataset", "eval_dataset", "evaluator", "label_frac")
Names = dict[str, Any]


def run_block(block: Block, module_name: str = "documented") -> Names:
    """Run a block, which may use the names of `bench.api`, and return its names."""
    module = types.ModuleType(module_name)
    module.__dict__.update({name: getattr(bench.api, name) for name in bench.api.__all__})
    sys.modules[module_name] = module
    exec(compile(block.text, block.name, "exec"), module.__dict__)  # noqa: S102 - our own documentation
    return module.__dict__


def value_of(block: Block) -> Any:
    """Run a block and return the value of its last line, an expression."""
    *lines, last = block.text.rstrip("\n").split("\n")
    return run_block(block._replace(text="\n".join([*lines, f"value = {last}"])))["value"]


# ---- what is checked of each block


def keep_the_contract_of_agreement(block: Block) -> None:
    check_method(run_block(block)["Agreement"], "agreement")


def fit_on_forty_lines(block: Block) -> None:
    run_block(block)

    assert len([line for line in block.text.splitlines() if line]) <= 40


def keep_the_contract_of_the_guides_method(block: Block) -> None:
    """The test that authors are shown is run on the method that they are shown."""
    package = types.ModuleType("bench_alignment")
    sys.modules["bench_alignment"] = package
    run_block(block_with("class Alignment(Method)"), "bench_alignment.alignment")
    run_block(block)["test_alignment_keeps_the_contract"]()


def make_a_test_of_each_check(block: Block) -> None:
    """Of the checks that authors are shown, those that train nothing are run on the method they are shown."""
    sys.modules["bench_alignment"] = types.ModuleType("bench_alignment")
    run_block(block_with("class Alignment(Method)"), "bench_alignment.alignment")
    test = run_block(block)["test_alignment_keeps_the_contract"]
    ((_, cases),) = (mark.args for mark in test.pytestmark)
    named = {title: values[0] for values, _, title in cases}

    assert len(named) > 30
    assert "it trains in bfloat16" in named  # the one that the text expects to fail
    for title in ("extends Method", "embed() is per sample: in chunks it equals the whole"):
        test(named[title])


def keep_the_contract_of_a_frame(block: Block) -> None:
    class Whole(run_block(block)["Contrasting"]):  # type: ignore[misc]
        """The frame with what every method has."""

        recipe = Recipe(optimizer="sgd", lr=0.06, lr_scaling="linear", weight_decay=1e-4, source="a test")

        @classmethod
        def views(cls, config: Any, data: Any, image_size: int) -> tuple[View, ...]:
            return (View(), View())

    check_method(Whole, "whole")


def keep_the_contract_of_an_evaluator(block: Block) -> None:
    check_evaluator(run_block(block)["NearestMean"], "nearest-mean")


def keep_the_contract_of_an_executor(block: Block) -> None:
    check_executor(run_block(block)["OneByOne"], "one-by-one")


def offer_the_guides_method(block: Block) -> None:
    (offer,) = run_block(block)["bench_methods"]()
    entry = block_with("[project.entry-points.bench]").text

    assert (offer.name, offer.target) == ("alignment", ".alignment:Alignment")
    assert f'alignment = "{block.text.partition("/")[0].removeprefix("# ")}"' in entry


def offer_a_family(block: Block) -> None:
    (family,) = run_block(block)["bench_backbones"]()

    assert (family.name, family.names) == ("mylib", ".mylib_names:names")


def keep_the_contract_of_a_backbone(block: Block) -> None:
    check_backbone(run_block(block)["Strided"], "strided")


def keep_the_contract_of_a_dataset(block: Block, folder: Path) -> None:
    (folder / "documented_halves.py").write_text(block.text)  # where another process finds it
    sys.path.insert(0, str(folder))
    try:
        check_dataset(importlib.import_module("documented_halves").Halves, "halves")
    finally:
        sys.path.remove(str(folder))
        del sys.modules["documented_halves"]


def render_a_table(block: Block, folder: Path) -> None:
    table = build_table(RecordStore(folder / "results").records(), metric="top1")
    lines = run_block(block)["Wiki"]().render(table).splitlines()

    assert lines[0] == '{| class="wikitable"'
    assert lines.count("|-") == len(table.rows)
    assert len(lines[2].split("!!")) == len(table.header)
    assert any("'''" in line for line in lines)


def offer_presets(block: Block, folder: Path) -> None:
    package = folder / "documented_presets.py"
    package.write_text(block.text)
    about = folder / "documented_presets-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: documented-presets\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[bench]\npresets = documented_presets\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        registry = Registry.load()
        names = [(entry.owner, entry.slot, entry.preset.name) for entry in registry.presets()]
    del sys.modules["documented_presets"]

    assert names == [
        ("simclr", "recipe", "short"),
        ("simclr", "views", "gentle"),
        ("knn", "protocol", "wu2018"),
    ]
    assert registry.failures == ()


def write_a_line_an_epoch(block: Block, folder: Path) -> None:
    run = types.SimpleNamespace(title="simclr on digits", results=str(folder))
    observe = run_block(block)["bench_epoch_end"]
    for epoch in (1, 2):
        observe(run, epoch, {"loss": 1 / epoch})
    lines = [json.loads(line) for line in (folder / "epochs.jsonl").read_text().splitlines()]

    implement_hooks(block)
    assert lines[1] == {"run": "simclr on digits", "epoch": 2, "loss": 0.5}


def write_a_line_a_score(block: Block, folder: Path) -> None:
    run = types.SimpleNamespace(title="simclr on digits")
    cell = {"dataset": "digits", "eval_dataset": "digits", "evaluator": "knn", "label_frac": 0.1}
    journal = run_block(block)["Journal"]
    logger = journal(journal.Config(), folder)
    logger.log_record(run, {"cell": cell, "metrics": {"top1": {"value": 71.5}}})
    logger.log_record(run, {"cell": cell, "metrics": {}, "reason": "there is one class"})

    assert (folder / "journal.txt").read_text().splitlines() == [
        "simclr on digits: {'knn@10%/top1': 71.5}",
        "simclr on digits: there is one class",
    ]


def implement_hooks(block: Block) -> None:
    hooks = {name: found for name, found in run_block(block).items() if name.startswith("bench_")}

    assert hooks
    for name, hook in hooks.items():
        specified = inspect.signature(getattr(hookspecs, name)).parameters
        assert inspect.signature(hook).parameters.keys() <= specified.keys()


def average_as_the_table_does(block: Block, folder: Path) -> None:
    frame = value_of(block)
    found = [
        (*(None if pd.isna(value) else value for value in index[: len(CELL)]), *numbers)
        for index, numbers in zip(frame.index, frame.itertuples(index=False, name=None), strict=True)
    ]
    table = build_table(RecordStore(folder / "results").records(), metric="top1")
    expected = [
        (*(cell.axes[name] for name in CELL), cell.mean, cell.std, cell.n) for cell in table.cells() if cell.n
    ]

    def order(row: tuple[Any, ...]) -> str:
        return str([round(value, 9) if isinstance(value, float) else value for value in row])

    assert len(found) == len(expected) == 14
    for row, cell in zip(sorted(found, key=order), sorted(expected, key=order), strict=True):
        assert row[: len(CELL)] == cell[: len(CELL)]
        assert row[len(CELL) :] == pytest.approx(cell[len(CELL) :], rel=1e-12)
    assert {row[-1] for row in found} == {3}


def list_the_cells_of_the_table(block: Block, folder: Path) -> None:
    table = build_table(RecordStore(folder / "results").records(), cols="dataset,evaluator")
    expected = [(cell.axes["method"], cell.mean, cell.by_seed, cell.best) for cell in table.cells()]

    assert value_of(block) == expected
    assert any(best for *_, best in expected)


def plot_what_a_training_logged(block: Block, folder: Path) -> None:
    line = json.loads(block_with('"positive_rank"').text)
    lines = [{name: value for name, value in line.items() if name != "online_knn_top1"}, line]
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in lines))
    drawn: list[tuple[int, str, Any]] = []
    backend = types.ModuleType("drawn_plots")
    backend.__dict__["plot"] = lambda data, kind, **options: drawn.append((len(data), kind, options["y"]))
    sys.modules[backend.__name__] = backend
    text = block.text.replace("results/artifacts/KEY/metrics.jsonl", str(folder / "metrics.jsonl"))
    with pd.option_context("plotting.backend", backend.__name__):
        frame = run_block(block._replace(text=text))["frame"]

    assert math.isnan(frame.online_knn_top1[0])
    assert drawn == [(2, "line", ["z_rankme", "h_rankme"]), (1, "line", "online_knn_top1")]


def build_a_recipe(block: Block) -> None:
    (group,) = run_block(block)["recipe"].groups

    assert (group.match, group.constant_lr) == ("predictor.*", True)


def build_views_of_two_sizes(block: Block) -> None:
    assert [view.size for view in run_block(block)["views"]] == [None] * 2 + [96] * 6


def bring_published_results(block: Block, folder: Path) -> None:
    package = folder / "documented_results"
    package.mkdir()
    (package / "__init__.py").write_text(block.text)
    (package / "results.csv").write_text("method,dataset,evaluator,top1,source\nA,digits,knn,90,ours\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        file, result = importlib.import_module("documented_results").bench_published()
    del sys.modules["documented_results"]
    ((_, row),) = list_rows(file.read_text(encoding="utf-8"))

    assert parse_row(row).top1 == 90.0
    refuse_impossible(result)


CHECKS: dict[str, Callable[..., None]] = {
    "class Agreement(Method)": keep_the_contract_of_agreement,
    "class Alignment(Method)": fit_on_forty_lines,
    "@parametrize_checks(": make_a_test_of_each_check,
    "check_method(Alignment": keep_the_contract_of_the_guides_method,
    "class Contrasting(Method)": keep_the_contract_of_a_frame,
    "class NearestMean(Evaluator)": keep_the_contract_of_an_evaluator,
    "class OneByOne(Executor)": keep_the_contract_of_an_executor,
    "def bench_methods()": offer_the_guides_method,
    "def bench_backbones()": offer_a_family,
    "def bench_epoch_end(run": write_a_line_an_epoch,
    "class Strided(Backbone)": keep_the_contract_of_a_backbone,
    "class Halves(Dataset)": keep_the_contract_of_a_dataset,
    "class Wiki(TableFormat)": render_a_table,
    "class Journal(Logger)": write_a_line_a_score,
    "def bench_presets()": offer_presets,
    "def bench_step_end(run": implement_hooks,
    "def bench_published()": bring_published_results,
    "bench.results(": average_as_the_table_does,
    "build_table(": list_the_cells_of_the_table,
    "pd.read_json(": plot_what_a_training_logged,
    "recipe = Recipe(\n": build_a_recipe,
    "views = multi_crop(": build_views_of_two_sizes,
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Be in a folder with results of three seeds that differ in all that a cell may differ in."""
    store = RecordStore(tmp_path / "results")
    for seed in (0, 1, 2):
        for shift, method in enumerate(("simclr", "vicreg", "random")):
            for evaluator in ("knn", "linear"):
                for share in (0.1, 1.0):
                    value = 60 + 7 * shift + 11 * share + seed / 3
                    store.write(make(method, value, evaluator=evaluator, label_frac=share, seed=seed))
        metrics = {"rankme": {"value": 9.0, "higher_is_better": None}}
        store.write(make(evaluator="geometry", label_frac=None, seed=seed, metrics=metrics))
        for record in sweep("method.temperature", 0.1, 0.2, seed=seed, dataset="cifar10"):
            record["metrics"]["top1"]["value"] += seed / 7
            store.write(record)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("block", in_language("python"), ids=lambda block: block.name)
def test_a_documented_piece_of_python_does_what_it_says(
    block: Block, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (check,) = (check for text, check in CHECKS.items() if text in block.text)
    for name in ("documented", "bench_alignment", "bench_alignment.alignment", "drawn_plots"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))  # taken away again at the end

    check(block, folder) if "folder" in inspect.signature(check).parameters else check(block)


def test_no_check_is_of_a_block_that_is_gone() -> None:
    assert all(any(text in block.text for block in in_language("python")) for text in CHECKS)

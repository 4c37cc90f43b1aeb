"""A plugin adds recipes, views and protocols to those of others: chosen by name, keyed by value."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bench.cli.main import main
from bench.inspection.conformance import check_plugins
from bench.registry.registry import Registry

SHORT = 'Recipe(optimizer="sgd", lr=0.3, lr_scaling="linear", weight_decay=1e-4, source="a report, table 2")'
RECIPE = f'    yield NamedRecipe(method="simclr", name="short", recipe={SHORT})\n'
VIEWS = (
    '    yield NamedViews(method="simclr", name="gentle", views=(View(crop_min=0.5), View(blur=0.5)), '
    'source="a report, 3.1")\n'
)
PROTOCOL = (
    '    yield NamedProtocol(evaluator="knn", name="wide", settings={"k": 7, "temperature": 0.5}, '
    'source="a report, 4")\n'
)
SELECTION = (
    '    yield NamedProtocol(dataset="digits", name="pair", settings={"classes": ["3", "8"], '
    '"max_train": 64}, source="a report, 5")\n'
)
Add = Callable[..., None]
SMALL = (
    *("--backbone", "test_resnet", "--epochs", "1", "--batch-size", "32", "--set", "digits.max_train=64"),
    *("--executor", "in-process"),
)


def bench(*args: str) -> Result:
    return CliRunner().invoke(main, args)


@pytest.fixture
def add(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Add]:
    """Install distributions that add presets."""
    made = []

    def install(body: str, dist: str = "adds") -> None:
        (tmp_path / f"{dist}.py").write_text(
            f"from bench.api import *\n\n@hookimpl\ndef bench_presets():\n{body}"
        )
        about = tmp_path / f"{dist}-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(f"[bench]\npresets = {dist}\n")
        monkeypatch.syspath_prepend(tmp_path)
        made.append(dist)

    monkeypatch.chdir(tmp_path)
    yield install
    for dist in made:
        sys.modules.pop(dist, None)


def run(*args: str, code: int = 0) -> dict[str, Any]:
    """Run a grid of one cell in a folder of its own, and return the record."""
    result = bench("run", "--dataset", "digits", "--eval", "knn", *SMALL, *args, "--results", "results")
    assert result.exit_code == code, result.output
    (file,) = Path("results/records").rglob("*.json")
    record: dict[str, Any] = json.loads(file.read_text())
    file.unlink()
    return record


def test_an_added_recipe_trains_as_its_values_do_that_are_set_one_by_one(add: Add) -> None:
    add(RECIPE)
    named = run("--method", "simclr", "--set", "method.recipe=short")
    over = run("--method", "simclr", "--set", "simclr.recipe=short", "--set", "train.lr=0.2")
    spelled = run(
        *("--method", "simclr", "--set", "train.optimizer=sgd", "--set", "train.lr=0.3"),
        *("--set", "train.lr_scaling=linear", "--set", "train.weight_decay=1e-4"),
    )

    assert named["config"]["training"]["optimizer"] == "sgd"
    assert named["config"]["training"]["lr"] == pytest.approx(0.3 * 32 / 256)
    assert named["settings"]["method.recipe"] == "short"
    assert over["config"]["training"]["lr"] == pytest.approx(0.2 * 32 / 256)
    assert named["keys"]["backbone"] == spelled["keys"]["backbone"] != over["keys"]["backbone"]


def test_the_name_default_is_the_methods_own(add: Add) -> None:
    add(RECIPE)
    grid = ("--method", "simclr,random", "--set", "method.recipe=default,short", "--dataset", "digits")
    done = bench("run", *grid, *SMALL, "--eval", "knn")
    records = [json.loads(file.read_text()) for file in Path("results/records").rglob("*.json")]
    asked = {record["settings"].get("method.recipe"): record for record in records}

    assert done.exit_code == 0, done.output
    assert set(asked) == {None, "default", "short"}  # random trains nothing
    assert asked["default"]["config"]["training"]["optimizer"] == "lars"
    assert "short" in bench("table").stdout


def test_added_views_take_the_place_of_the_methods_own(add: Add) -> None:
    add(VIEWS)
    record = run("--method", "simclr", "--set", "method.views=gentle")
    shown = bench("show", "views", "simclr", "--dataset", "cifar10", "--set", "simclr.views=gentle")

    first, second = record["config"]["views"]
    assert (first["crop_min"], second["blur"]) == (0.5, 0.5)
    assert "0.5 to 1 of the area" in shown.stdout
    assert "blur" in shown.stdout


def test_an_added_protocol_is_that_of_the_settings_it_names(add: Add) -> None:
    add(PROTOCOL + SELECTION)
    named = run("--method", "random", "--set", "knn.protocol=wide")
    spelled = run("--method", "random", "--set", "knn.k=7", "--set", "knn.temperature=0.5")
    over = run("--method", "random", "--set", "knn.protocol=wide", "--set", "knn.k=9")
    pair = run("--method", "random", "--set", "dataset.protocol=pair")

    assert named["keys"]["score"] == spelled["keys"]["score"]
    assert (named["protocol"]["k"], over["protocol"]["k"]) == (7, 9)
    assert pair["config"]["dataset"]["classes"] == ["3", "8"]


def test_an_added_protocol_can_be_checked(add: Add, monkeypatch: pytest.MonkeyPatch) -> None:
    configs: list[Any] = []

    def note(*_: Any, config: Any) -> tuple[()]:
        configs.append(config)
        return ()

    add(PROTOCOL)
    monkeypatch.setattr("bench.inspection.conformance.check", note)
    registry = Registry.load()
    list(check_plugins(registry, [registry.find("evaluators", "knn")], ["knn.protocol=wide"]))

    assert [(config.k, config.temperature) for config in configs] == [(7, 0.5)]


def test_what_the_hook_of_presets_changes_of_the_process_is_put_back(
    add: Add, caplog: pytest.LogCaptureFixture
) -> None:
    before = Path.cwd()
    add(f"    import os\n    os.chdir('/')\n{RECIPE}")
    presets = Registry.load().presets()

    assert Path.cwd() == before
    assert [preset.full_name for preset in presets] == ["adds:short"]
    assert "adds:presets: bench_presets changed the working directory. That was put back." in caplog.messages


def test_show_and_plugins_say_what_was_added_by_whom_and_from_where(add: Add) -> None:
    add(RECIPE + VIEWS + PROTOCOL + SELECTION)
    method, evaluator = bench("show", "method", "simclr").stdout, bench("show", "evaluator", "knn").stdout
    listed = bench("plugins").stdout

    assert "recipes of other plugins (--set simclr.recipe=NAME)" in method
    assert "views of other plugins (--set simclr.views=NAME)" in method
    (line,) = (line for line in method.splitlines() if line.strip().startswith("short"))
    assert "optimizer sgd, lr 0.3" in line
    assert "adds 1.0" in line
    assert "a report, table 2" in line
    assert "k 7, temperature 0.5" in evaluator
    assert "classes [3, 8], max_train 64" in bench("show", "dataset", "digits").stdout
    assert "recipe short of simclr; views gentle of simclr; protocol wide of knn" in listed
    assert "other plugins" not in bench("show", "method", "vicreg").stdout


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (RECIPE.replace("simclr", "simclrr"), "'short': no method is named 'simclrr'. Did you mean"),
        (RECIPE + RECIPE, "'short': recipe of simclr is offered twice by"),
        (RECIPE.replace('"short"', '"default"'), "'default' cannot be a name."),
        (RECIPE.replace(SHORT, "None"), "'short' of simclr: "),
        (
            VIEWS.replace("(View(crop_min=0.5), View(blur=0.5))", "[View()]"),
            "is no tuple of Views. Give it one.",
        ),
        (VIEWS.replace("a report, 3.1", " "), "'gentle' of simclr: it has no source. Say where it is from."),
        (
            PROTOCOL.replace('{"k": 7, "temperature": 0.5}', "{}"),
            "'wide' of knn: {} has no settings by name. Give it some.",
        ),
        (
            PROTOCOL.replace('evaluator="knn"', 'evaluator="knn", dataset="digits"'),
            "it names both an evaluator and",
        ),
        (PROTOCOL.replace('evaluator="knn", ', ""), "'wide': it names neither an evaluator nor a data set."),
        ("    yield 3\n", "3 is no NamedRecipe, NamedViews or NamedProtocol. Yield one of these."),
        ("    yield 1 / 0\n", "ZeroDivisionError: division by zero"),
        (RECIPE.replace('"sgd"', '"adam"'), "recipe.optimizer: 'adam' is not one of its values."),
    ],
)
def test_what_cannot_be_added_is_one_line_of_its_plugin(add: Add, body: str, said: str) -> None:
    add(body)
    registry = Registry.load()
    registry.presets()
    (failure,) = registry.failures

    assert (failure.plugin.id, failure.phase) == ("adds:presets", "bench_presets")
    assert said in failure.error
    assert "\n" not in failure.error
    assert bench("plugins", "doctor").exit_code == 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            ["method.recipe=shrot"],
            "--set method.recipe: simclr has no recipe named 'shrot'. Did you mean 'short'?",
        ),
        (["simclr.views=gentle"], "--set simclr.views: simclr has no views named 'gentle'. Known: default."),
        (["knn.protocol=odd"], "adds:odd: knn: no setting is named 'kk'. Did you mean 'k'?"),
        (["backbone.recipe=short"], "--set backbone.recipe: backbone has no setting named 'recipe'."),
        (["method.protocol=odd"], "--set method.protocol: method has no setting named 'protocol'."),
    ],
)
def test_a_name_that_is_not_there_is_one_line(add: Add, settings: list[str], said: str) -> None:
    add(RECIPE + PROTOCOL.replace('"wide"', '"odd"').replace('"k"', '"kk"'))
    words = [word for setting in settings for word in ("--set", setting)]
    result = bench("run", "--method", "simclr", "--dataset", "digits", "--eval", "knn", *SMALL, *words)

    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_name_that_two_plugins_add_is_one_line_and_asked_for_in_full(add: Add) -> None:
    add(RECIPE)
    add(RECIPE.replace("lr=0.3", "lr=0.6"), "also")
    result = bench("run", "--method", "simclr", "--dataset", "digits", *SMALL, "--set", "method.recipe=short")
    record = run("--method", "simclr", "--set", "method.recipe=also:short")

    assert result.exit_code == 2
    assert result.stderr == (
        "Error: --set method.recipe: 2 recipes of simclr are named 'short': adds:short and also:short. "
        "Ask for one of them by its full name.\n"
    )
    assert record["config"]["training"]["lr"] == pytest.approx(0.6 * 32 / 256)

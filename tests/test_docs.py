"""Every block of the documentation is run, and what it says that it prints is what it prints.

What trains for minutes is parsed and planned by the command line's own code, on small archives in the
official formats; all else is run whole.
"""

from __future__ import annotations

import doctest
import itertools
import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from archives import TEN, fill, write_all
from click.testing import CliRunner, Result
from documented import BLOCKS, FENCED, FILES, ROOT, Block, block_with, in_language
from foreign import forget_modules, install, make_environment, run_readme
from made_records import make

from bench.cli.main import main
from bench.planning.cells import Cell
from bench.planning.open_datasets import Datasets
from bench.planning.options import merge_options
from bench.planning.planner import plan
from bench.registry.registry import Registry
from bench.storage.records import RecordStore

RUN = {"python", "bash", "console", "yaml", "toml", "json", "text"}  # by a test here or in test_docs_python
DRAWN = {"mermaid"}  # which tests/test_imports.py compares with the packages
LAYOUT, SYNOPSIS, GROUPS = "birds/train/<class>/*", "bench run [GRID.yaml] [options]", "file,patient"
LIST = "filename,label,split"
SKIPPED = "geometry: it needs a backbone to work on, but pixels has features only."  # as the text says
PROFILES = ("profile of simclr", "stage of the run")


@pytest.fixture(scope="module", autouse=True)
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Be in a folder that has all data, grids and results that the documentation speaks of."""
    root = tmp_path_factory.mktemp("documented")
    with pytest.MonkeyPatch.context() as patch:
        write_all(root, patch, cifar10_batch=820, of_a_class=320)  # swav has 3,000 prototypes
        for name in ("data", "mnist"):
            (root / name).symlink_to(root)
        for name in ("photos", "birds", "imagenet"):
            (root / name).symlink_to(root / "cifar10")
        fill(root / "birds, all of them" / "train", ("cat", "dog", "owl"), 150, "RGB")
        fill(root / "birds, all of them" / "test", ("cat", "dog", "owl"), 2, "RGB")
        (root / "compare.yaml").write_text(block_with("# bench run compare.yaml").text)
        (root / "grids").symlink_to(ROOT / "grids")
        shutil.copytree(ROOT / "results", root / "results")
        shutil.copytree(ROOT / "results" / "cifar10" / "records", root / "results" / "records")
        for evaluator, features in (("linear", "frozen"), ("finetune", "fine-tuned")):
            protocol = {"features": features, "selected_split": "train"}
            RecordStore(root / "mixed").write(make(dataset="cifar10", evaluator=evaluator, protocol=protocol))
        patch.chdir(root)
        yield root


def commands_of(block: Block) -> list[list[str]]:
    """Return the commands of a block as the shell would split them; a command goes on after a backslash."""
    lines = block.text.replace("\\\n", " ").splitlines()
    return [words for words in (shlex.split(line, comments=True) for line in lines) if words]


def run(words: list[str]) -> Result:
    """Run a command of bench; where its output goes to a file, that is left out."""
    return CliRunner().invoke(main, words[1 : words.index(">") if ">" in words else None])


def plan_run(words: list[str]) -> list[Cell]:
    """Plan what `bench run` would make, from its words as the command itself reads them."""
    options = main.commands["run"].make_context("run", words[2:]).params
    options["set"] = options.pop("set_")
    grid, _ = options.pop("grid"), options.pop("dry_run")
    registry = Registry.load()
    return plan(merge_options(grid, options).request("float32"), registry, Datasets(registry, Path("data")))


def check_command(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a documented command, or what of it can be run here."""
    if words[:2] == ["bench", "run"]:
        words = words[: words.index(">")] if ">" in words else words
        assert {cell.skip for cell in plan_run(words)} <= {None, SKIPPED}
    elif words[:2] == ["bench", "export"]:  # of a backbone that would have to be trained
        assert main.commands["export"].make_context("export", words[2:]).params["library"]
    elif words[0] == "bench":
        result = run(words)
        assert result.exit_code == 0, result.output
    elif words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    elif words[:2] == ["pip", "install"]:
        path = re.sub(r"\[.*", "", words[-1])
        assert words[2:-1] in ([], ["-e"], ["-q", "-e"])
        if path != ".":
            install(Path(path), monkeypatch)
    else:
        assert words[:2] == ["python", "-c"]
        exec(words[2], {})  # noqa: S102 - our own documentation


# ---- the blocks themselves


def test_every_block_says_its_language_and_is_run_in_it() -> None:
    assert {block.name: block.language for block in BLOCKS if block.language not in RUN | DRAWN} == {}


def test_no_command_stands_outside_of_a_block() -> None:
    indented = {
        line for file in FILES for line in FENCED.sub("", file.read_text()).splitlines()
        if re.match(r" {4,}(\$ )?(bench|make|pip|python) ", line)
    }  # fmt: skip

    assert indented == set()


@pytest.mark.parametrize("block", in_language("bash"), ids=lambda block: block.name)
def test_a_documented_command_works(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = commands_of(block)

    assert commands
    for words in commands:
        check_command(words, monkeypatch)


@pytest.mark.parametrize("block", in_language("console"), ids=lambda block: block.name)
def test_a_command_prints_what_is_documented(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = sessions_of(block)

    assert sessions
    for command, output in sessions:
        words = shlex.split(command)
        is_refused = output.startswith("Error:")
        if words[0] == "bench" and (words[1] != "run" or is_refused):
            assert is_as_documented(run(words).output, output)
        elif words[0] != "pytest":  # which `test_the_first_ten_minutes` runs
            check_command(words, monkeypatch)
    forget_modules("bench_alignment")


def sessions_of(block: Block) -> list[tuple[str, str]]:
    """Return the commands of a block, each with what it prints."""
    return re.findall(r"^\$ (.+)\n((?:(?!\$ ).*\n)*)", block.text, re.MULTILINE)


def is_as_documented(printed: str, documented: str) -> bool:
    """Tell whether a command printed what is documented, where three dots stand for anything."""
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE * ("..." in documented)
    return doctest.OutputChecker().check_output(documented.rstrip() + "\n", printed.rstrip() + "\n", flags)


@pytest.mark.long
def test_the_first_ten_minutes_print_what_is_documented(tmp_path: Path) -> None:
    python = make_environment(tmp_path / "own")
    for command, output in sessions_of(block_with("pip install -q -e")):
        done = run_readme(command, tmp_path, python)
        assert done.returncode == 0, done.stderr
        assert is_as_documented(done.stdout, output), done.stdout


@pytest.mark.parametrize(
    "block",
    [
        block
        for block in in_language("bash")
        if block.name.startswith("results/") and "bench table" in block.text
    ],
    ids=lambda block: block.name,
)
def test_a_documented_table_is_that_of_the_committed_records(block: Block) -> None:
    (words,) = commands_of(block)
    printed = run(words).output

    assert block.after.startswith(printed)


@pytest.mark.parametrize("block", in_language("yaml"), ids=lambda block: block.name)
def test_a_documented_grid_is_planned(block: Block, data: Path) -> None:
    (data / "documented.yaml").write_text(block.text)
    cells = plan_run(["bench", "run", "documented.yaml"])

    assert {cell.skip for cell in cells} == {None}
    assert len({cell.keys.backbone for cell in cells}) > 1


@pytest.mark.parametrize(
    "block",
    [block for block in in_language("text") if "methods.md" not in block.name],  # made from the code
    ids=lambda block: block.name,
)
def test_a_text_is_one_that_is_checked_here(block: Block) -> None:
    assert [known in block.text for known in (LAYOUT, SYNOPSIS, GROUPS, LIST, *PROFILES)].count(True) == 1


# ---- what is no command


def test_the_groups_of_a_folder_are_read(tmp_path: Path) -> None:
    fill(tmp_path / "train", ("benign", "malign"), 4, "RGB")
    fill(tmp_path / "test", ("benign", "malign"), 2, "RGB")
    header, *lines = block_with(GROUPS).text.split()
    patients = [line.partition(",")[2] for line in lines]
    images = sorted(tmp_path.glob("*/*/*"))
    rows = [f"{image.relative_to(tmp_path).as_posix()},{image.parent.parent.name}" for image in images[2:]]
    rows += [
        f"{image.relative_to(tmp_path).as_posix()},{patient}"
        for image, patient in zip(images[:2], patients, strict=True)
    ]
    (tmp_path / "groups.csv").write_text("\n".join([header, *rows]))
    cell, *_ = plan_run(
        [
            "bench",
            "run",
            "--method",
            "random",
            "--dataset",
            "image_folder",
            "--set",
            f"dataset.root={tmp_path}",
        ]
    )
    data = Datasets(Registry.load()).open(cell.dataset)

    assert data.info.groups == "patient"
    assert data.groups("test")[0] == data.groups("test")[1] != data.groups("test")[2]


def test_the_synopsis_has_every_command() -> None:
    documented = re.findall(r"^bench (\w+)", block_with(SYNOPSIS).text, re.MULTILINE)

    assert set(documented) == set(main.commands)


@pytest.mark.parametrize("split", [("train", "test", "val"), ("",)], ids=["by split", "by class"])
def test_both_layouts_of_a_folder_are_read(tmp_path: Path, split: tuple[str, ...]) -> None:
    documented = set(re.findall(r"(birds\S*)/<class>/", block_with(LAYOUT).text))
    names = {f"birds/{name}".rstrip("/") for name in split}
    for name in names:
        fill(tmp_path / name, TEN, 40, "RGB")
    cells = plan_run(
        ["bench", "run", "--dataset", "image_folder", "--set", f"dataset.root={tmp_path / 'birds'}"]
    )

    assert names <= documented
    assert {cell.skip for cell in cells} == {None}


def test_a_list_of_files_and_labels_is_read(tmp_path: Path) -> None:
    lines = block_with(LIST).text.split()
    files = [line.partition(",")[0] for line in lines[1:]]
    fill(tmp_path / "images", ("more",), 4, "RGB")
    for number, file in enumerate(files):
        (tmp_path / "images" / "more" / f"{number + 2}.png").rename(tmp_path / file)
    rows = ["images/more/0.png,dog,train", "images/more/1.png,cat,test"]
    (tmp_path / "labels.csv").write_text("\n".join([*lines, *rows]))
    root = f"dataset.root={tmp_path}"
    (cell,) = plan_run(["bench", "run", "--method", "random", "--dataset", "image_folder", "--set", root])

    assert (cell.label_frac, cell.skip) == (1.0, None)


def test_a_profile_and_a_line_of_metrics_have_what_is_documented(tmp_path: Path) -> None:
    options = "--epochs 2 --eval knn,linear --profile --batch-size 16 --set dataset.max_train=128 --results"
    result = run(["bench", "run", *options.split(), str(tmp_path)])
    (metrics,) = tmp_path.glob("artifacts/*/metrics.jsonl")

    assert result.exit_code == 0, result.output
    for profile in PROFILES:
        documented = stages_of(block_with(profile).text)
        assert documented[0].split() in [line.split() for line in result.output.splitlines()]
        assert set(documented[1:]) <= set(stages_of(result.output[result.output.index(profile) :])[1:])
    assert (
        json.loads(metrics.read_text().splitlines()[-1]).keys()
        == json.loads(block_with('"positive_rank"').text).keys()
    )


def stages_of(text: str) -> list[str]:
    """Return the header of the first table of a text, and the stages that its rows are of."""
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("-----"))
    rows = itertools.takewhile(str.strip, lines[start + 1 :])
    return [lines[start - 1], *(re.split(r"\s{2,}", row)[0] for row in rows)]

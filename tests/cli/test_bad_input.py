"""What a person gets wrong is one line and exit status 2, before anything is made."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from bench.cli import run_grid as command
from bench.cli.app import Shell
from bench.cli.main import main
from bench.errors import BadData
from bench.planning.cells import PluginChoice
from bench.planning.options import merge_options
from bench.planning.planner import Datasets
from bench.planning.plugin_choices import PluginChoices
from bench.registry.registry import Registry
from bench.storage.records import RecordStore

SMALL = {
    "--backbone": "test_resnet",
    "--image-size": "16",
    "--epochs": "1",
    "--batch-size": "32",
    "--eval": "knn",
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def bench(*args: str, **said: str) -> Result:
    return CliRunner().invoke(main, [*args, *(word for pair in said.items() for word in pair)])


def run(*args: str) -> Result:
    """Run a small grid, with `args` in place of its own options."""
    kept = {name: value for name, value in SMALL.items() if name not in args}
    return bench("run", *args, **kept)


def line_of(result: Result) -> str:
    """Return the one line of a usage error."""
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr.rstrip("\n")


def images(folder: Path, *places: str) -> None:
    for number, place in enumerate(places):
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (number * 20, 0, 0)).save(folder / place)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("--method simclrr", "no method is named 'simclrr'. Did you mean 'simclr'?"),
        ("--backbone resnet5", "no backbone is named 'resnet5'. Did you mean 'resnet50'"),
        ("--dataset digit", "no dataset is named 'digit'. Did you mean 'digits'?"),
        ("--eval knnn", "no evaluator is named 'knnn'. Did you mean 'knn'?"),
        ("--eval-dataset digitz", "no dataset is named 'digitz'. Did you mean 'digits'?"),
        ("--method simclr,", "--method: a value of 'simclr,' is empty."),
        (
            "--set method.temprature=1",
            "method has no setting named 'temprature'. Did you mean 'temperature'?",
        ),
        ("--set knn.kk=3", "knn has no setting named 'kk'. Did you mean 'k'?"),
        ("--set knn.root=x", "knn has no setting named 'root'."),
        ("--set train.root=x", "train has no setting named 'root'."),
        ("--set views.flp=1", "'flp'. Did you mean 'flip'?"),
        ("--set views.flp=1 --method random", "'flp'. Did you mean 'flip'?"),
        ("--set methd.x=3", "nothing chosen is named 'methd'. Did you mean 'method'?"),
        ("--set linear.l2_min=3", "nothing chosen is named 'linear'."),
        ("--set temperature=3", "--set: 'temperature' is not PART.FIELD."),
        ("--set method.temperature", "is not PART.FIELD=VALUE."),
        ("--set simclr.temperature=warm", "simclr.temperature: 'warm' is str. Use a number."),
        ("--set method.temperature=-1", "simclr.temperature: -1 is out of range. Use more than 0."),
        ("--set method.temperature=.nan", "simclr.temperature: nan is out of range."),
        ("--set knn.k=1.5", "knn.k: 1.5 is float. Use a whole number."),
        (
            "--set knn.k=5000",
            "knn: k is 5000, but there are 1438 training features. Set knn.k to at most 1438.",
        ),
        ("--set knn.k=50 --label-frac 0.01,1", "knn: k is 50, but there are"),
        (
            "--set linear.l2_min=1 --set linear.l2_max=0.1 --eval linear,knn",
            "Set linear.l2_min to at most 0.1.",
        ),
        ("--set views.flip=2", "views.flip: 2 is out of range. Use at least 0 and at most 1."),
        (
            "--set views.crop_min=0.9 --set views.crop_max=0.5",
            "views.crop_min: 0.9 is more than crop_max (0.5).",
        ),
        ("--set train.optimizer=adamw", "adamw needs a learning rate of its own"),
        ("--label-frac 0", "label-frac: 0 is out of range. Use more than 0 and at most 1."),
        ("--label-frac 0.5,1.5", "label-frac: 1.5 is out of range."),
        ("--label-frac nan", "--label-frac: 'nan' is not a number."),
        (
            "--label-frac 0.001",
            "leaves 0, 1, 2 and 7 more without an image (the least class has 139). Use at least 0.0036.",
        ),
        ("--epochs 0", "train.epochs: 0 is out of range. Use at least 1."),
        ("--epochs -3", "train.epochs: -3 is out of range."),
        ("--epochs abc", "train.epochs: 'abc' is str. Use a whole number."),
        ("--epochs 1,abc", "train.epochs: 'abc' is str."),
        ("--batch-size 1", "train.batch_size: 1 is out of range. Use at least 2."),
        ("--batch-size 5000", "but digits has 1438 to train on. Set --batch-size to at most 1438."),
        ("--image-size 4", "train.image_size: 4 is out of range. Use at least 8 and at most 1024."),
        (
            "--precision float64",
            "train.precision: 'float64' is not one of its values. Did you mean 'float16'",
        ),
        ("--seed -1", "--seed: -1 is not a whole number of at least 0."),
        ("--seed 0,x", "--seed: 'x' is not a whole number of at least 0."),
        ("--executor proceses", "no executor is named 'proceses'. Did you mean 'processes'?"),
        (
            "--executor in-process --jobs 2",
            "--jobs: 2 processes were asked for, but in-process is one. Leave --jobs out, or use --executor",
        ),
        ("--jobs 0", "--jobs: 0 is not a whole number of at least 1."),
        ("--device cuda:99", "--device: cuda:99 was asked for, but it is not there."),
        ("--device gpu", "--device: gpu was asked for, but it is not there."),
        ("--dataset cifar10", "is not there or not complete. Use --download, or set dataset.root"),
        ("--dataset cifar10,digits --dry-run", "Use --download"),
        ("--dataset image_folder", "image_folder: no folder was given. Set dataset.root=FOLDER."),
        (
            "--dataset image_folder --set dataset.root=none",
            "none is no folder, it is not there. Set dataset.root to a folder of images.",
        ),
        (
            "--set dataset.root=photos",
            "digits: dataset.root is photos, but these images come with scikit-learn.",
        ),
        ("--set dataset.classes=[1]", "digits.classes: there is one class, '1'. Name at least two."),
        ("--set dataset.classes=[1,eleven]", "digits: no class is named 'eleven'."),
        ("--set backbone.weights=none.pt", "none.pt: the file cannot be read (No such file or directory)."),
        ("--set backbone.stem=huge", "test_resnet.stem: 'huge' is not one of its values."),
        ("--backbone test_nfnet", "test_nfnet shrinks 16 px to a last map of 1x1. Set a larger --image-size"),
        ("--results /proc/none", "--results /proc/none: /proc cannot be written to"),
        ("none.yaml", "none.yaml: there is no such grid file."),
        ("--epoch 5", "No such option '--epoch'. Did you mean '--epochs'"),
        ("a.yaml b.yaml", "Got unexpected extra argument (b.yaml)"),
    ],
)
def test_what_cannot_be_done_is_one_line_before_anything_is_made(folder: Path, args: str, said: str) -> None:
    assert said in line_of(run(*args.split()))
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "grid.yaml: the grid file is empty."),
        ("- method", "grid.yaml: the grid file holds a list."),
        ("method: [simclr", "grid.yaml: the grid file is not readable as YAML (line 1:"),
        ("method: random\nmethod: simclr", "(line 2: 'method' is there twice)"),
        ("methods: random", "grid.yaml: no option of a grid file is named 'methods'. Did you mean 'method'?"),
        ("method: []", "grid.yaml: method: there is no value."),
        ("method: rand", "no method is named 'rand'."),
        ("set: {knn.k: []}", "grid.yaml: set knn.k: there is no value."),
        ("seed: x", "grid.yaml: seed: 'x' is not a whole number"),
        ("jobs: 0", "grid.yaml: jobs: 0 is not a whole number"),
        ("device: cuda:99", "--device: cuda:99 was asked for"),
        ("results: grid.yaml", "--results grid.yaml: "),
    ],
)
def test_a_grid_file_that_cannot_be_run_is_one_line(folder: Path, text: str, said: str) -> None:
    (folder / "grid.yaml").write_text(text)

    assert said in line_of(run("grid.yaml"))
    assert [path.name for path in folder.iterdir()] == ["grid.yaml"]


@pytest.mark.parametrize("results", ["file", "file/below", "link", "taken"])
def test_a_results_folder_that_cannot_be_written_is_found_at_once(folder: Path, results: str) -> None:
    (folder / "file").write_text("")
    (folder / "link").symlink_to("nowhere")
    (folder / "taken").mkdir()
    (folder / "taken" / "artifacts").write_text("")
    before = sorted(folder.rglob("*"))

    assert f"--results {results}: " in line_of(run("--results", results))
    assert sorted(folder.rglob("*")) == before


def test_a_place_of_records_that_is_taken_is_found_before_training(folder: Path) -> None:
    place = folder / "results" / "records" / "simclr"
    place.parent.mkdir(parents=True)
    place.write_text("")

    assert f"{place} cannot be written to (Not a directory)" in line_of(run("--method", "random,simclr"))
    assert not (folder / "results" / "artifacts").exists()


def test_a_record_of_a_newer_bench_is_found_before_training(folder: Path) -> None:
    assert run("--method", "random", "--set", "dataset.max_train=32").exit_code == 0
    (record,) = RecordStore(folder / "results").root.rglob("*.json")
    record.write_text(record.read_text().replace('"schema": 1', '"schema": 99'))
    artifacts = sorted((folder / "results" / "artifacts").iterdir())
    line = line_of(run("--method", "vicreg,random", "--set", "dataset.max_train=32"))

    assert "has schema 99, this bench reads 1. Upgrade ssl-bench." in line
    assert sorted((folder / "results" / "artifacts").iterdir()) == artifacts


@pytest.mark.parametrize(
    ("places", "said"),
    [
        (["d/a/1.png", "d/a/2.png"], "is the only class folder"),
        (["other/a/1.png"], "d is no folder, it is not there. Set dataset.root to a folder of images."),
        (["d/1.png"], "there are no images in class folders under d"),
        (["d/train/a/1.png", "d/train/b/1.png", "d/test/a/1.png"], "it lacks: b"),
    ],
)
def test_a_folder_of_images_that_cannot_be_used_is_found_at_once(
    folder: Path, places: list[str], said: str
) -> None:
    images(folder, *places)

    assert said in line_of(run("--dataset", "image_folder", "--set", "dataset.root=d"))
    assert not (folder / "results").exists()


def test_a_file_that_is_no_checkpoint_is_found_at_once(folder: Path) -> None:
    (folder / "w.pt").write_bytes(os.urandom(64))

    assert "w.pt: not a checkpoint that can be read" in line_of(run("--set", "backbone.weights=w.pt"))
    assert not (folder / "results").exists()


def test_a_path_that_the_system_refuses_is_one_line() -> None:
    args = ("--dataset", "image_folder", "--set", f"dataset.root={'x' * 300}")

    assert "it cannot be read (File name too long)" in line_of(run(*args))


@pytest.mark.parametrize("command", [("preview",), ("show", "views", "simclr")])
def test_a_picture_of_views_refuses_such_a_path_in_one_line_too(command: tuple[str, ...]) -> None:
    args = ("--dataset", "image_folder", "--set", f"dataset.root={'x' * 300}")

    assert "it cannot be read (File name too long)" in line_of(bench(*command, *args))


def test_a_damaged_test_image_fails_the_cell_before_the_training(folder: Path) -> None:
    images(folder, *(f"d/train/{label}/{n}.png" for label in "ab" for n in range(16)))
    images(folder, "d/test/a/1.png", "d/test/b/1.png")
    Image.effect_noise((16, 16), 50).convert("RGB").save(folder / "d/test/b/1.png")
    os.truncate(folder / "d/test/b/1.png", 200)  # behind the header: not seen in planning
    result = run("--dataset", "image_folder", "--set", "dataset.root=d")

    assert result.exit_code == 1
    assert "failed: image_folder: an image cannot be decoded: test/b/1.png" in result.stdout
    assert not list((folder / "results" / "artifacts").glob("*/manifest.json"))


@pytest.mark.parametrize(("split", "count"), [("train", 32), ("test", 1)])
def test_data_without_the_labels_to_evaluate_on_is_refused(split: str, count: int) -> None:
    registry = Registry.load()
    datasets = Datasets(registry)
    parts = PluginChoices(registry, datasets)
    data = parts.choose("datasets", "digits", "dataset", {"dataset.max_train": 32})
    labels = {name: datasets.open(data).labels(name) for name in ("train", "test")}
    labels[split][:count] = [-1] * count
    (key,) = datasets.opened
    datasets.opened[key] = SimpleNamespace(splits=tuple(labels), labels=labels.get)

    with pytest.raises(
        BadData, match=r"^digits: there are labels of .* Evaluate on another --eval-dataset\.$"
    ):
        parts.subset(data, 0.5, seed=0)


def with_labels(split: str, swapped: dict[int, int]) -> tuple[PluginChoices, PluginChoice]:
    """Return digits of which some labels are others."""
    registry = Registry.load()
    datasets = Datasets(registry)
    parts = PluginChoices(registry, datasets)
    data = parts.choose("datasets", "digits", "dataset", {})
    digits = datasets.open(data)
    labels = {name: digits.labels(name) for name in ("train", "test")}
    labels[split] = [swapped.get(label, label) for label in labels[split]]
    (key,) = datasets.opened
    datasets.opened[key] = SimpleNamespace(splits=tuple(labels), labels=labels.get, info=digits.info)
    return parts, data


@pytest.mark.parametrize(("split", "said"), [("train", "training"), ("test", "test")])
@pytest.mark.parametrize(
    ("swapped", "names"), [({3: 4}, "3"), (dict.fromkeys(range(5), 9), "0, 1, 2 and 2 more")]
)
def test_a_split_without_a_class_is_refused(
    split: str, said: str, swapped: dict[int, int], names: str
) -> None:
    parts, data = with_labels(split, swapped)

    with pytest.raises(
        BadData, match=rf"^digits: there is no {said} image of {names}\. Add some, or .* dataset\.classes\.$"
    ):
        parts.subset(data, 1.0, seed=0)


@pytest.mark.parametrize(("split", "label"), [("train", 10), ("test", 10), ("train", -2)])
def test_a_label_of_no_class_is_refused(split: str, label: int) -> None:
    parts, data = with_labels(split, {3: label})

    with pytest.raises(
        BadData, match=rf"^digits: a \w+ label is {label}, but there are 10 classes\. Use labels"
    ):
        parts.subset(data, 1.0, seed=0)


def test_the_least_fraction_that_an_error_names_is_enough(folder: Path) -> None:
    refused = line_of(run("--label-frac", "0.001", "--method", "random"))
    least = refused.removesuffix(".").rpartition(" ")[2]

    assert run("--label-frac", least, "--method", "random", "--set", "knn.k=1").exit_code == 0


def test_a_fraction_that_leaves_a_class_empty_is_a_skipped_cell_beside_the_others(folder: Path) -> None:
    result = run("--label-frac", "0.001,1", "--method", "random")
    records = [*RecordStore(folder / "results").records()]

    assert result.exit_code == 0, result.output
    assert {r["cell"]["label_frac"]: r["status"] for r in records} == {0.001: "skipped", 1.0: "ok"}
    assert "leaves 0, 1, 2 and 7 more without an image" in result.output


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("table", "no records in results. Run `bench run` first."),
        ("table --results elsewhere", "no records in elsewhere. Run `bench run` first."),
        ("status", "no records in results. Run `bench run` first."),
        ("status --results elsewhere", "no records in elsewhere."),
        ("tabel", "no command is named 'tabel'. Did you mean 'table'?"),
        ("table --row method", "No such option '--row'. Did you mean '--rows'?"),
    ],
)
def test_a_table_of_nothing_is_one_line(folder: Path, args: str, said: str) -> None:
    assert said in line_of(bench(*args.split()))
    assert list(folder.iterdir()) == []


@pytest.fixture
def at_a_terminal() -> click.Command:
    """Return a command that runs on cifar10 as if a person could be asked."""
    shell = Shell("bench")

    @shell.command("run")
    def run_asking() -> int:
        options = merge_options(None, {"dataset": ("cifar10",), "data_dir": "data"})
        return command.run(options, Registry.load(), blocked=(), dry_run=False, ask=True)

    return shell


def test_a_download_that_is_declined_is_one_line_that_names_the_option(
    folder: Path, at_a_terminal: click.Command
) -> None:
    result = CliRunner().invoke(at_a_terminal, ["run"], input="n\n")
    *question, last = result.stderr.splitlines()

    assert (result.exit_code, result.stdout) == (2, "")
    assert "Download it now? [y/N]" in question[-1]
    assert last == "Error: nothing was downloaded or run. Use --download, or another --dataset."
    assert not (folder / "results").exists()

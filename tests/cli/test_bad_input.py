"""A mistake in an option or a grid file is one line and exit status 2, before anything is made."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from small_runs import bench, line_of, run

from bench.cli.app import Session, Shell
from bench.cli.run_grid import run_grid
from bench.planning.options import merge_options
from bench.storage.records import RecordStore

pytestmark = pytest.mark.usefixtures("folder")


@pytest.mark.parametrize(
    ("args", "message"),
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
        ("--set learning_rate=3", "--set: 'learning_rate' is not PART.FIELD. Write it like train.lr."),
        ("--set wd", "--set: 'wd' is not PART.FIELD=VALUE. Write it like train.weight_decay=VALUE."),
        ("--set train.learning_rate=3", "train has no setting named 'learning_rate'. Did you mean 'lr'?"),
        ("--set train.zzz=3", "train has no setting named 'zzz'. See `bench show train`."),
        ("--set method.lr=3", "method has no setting named 'lr'. Did you mean 'train.lr'?"),
        ("--set train.tau=3", "train has no setting named 'tau'. Did you mean 'method.temperature'?"),
        ("--set method.zzz=3 --method supervised", "has no setting named 'zzz'. Known: recipe, views."),
        ("--set model.stem=small", "nothing chosen is named 'model'. Did you mean 'backbone' or 'method'?"),
        ("--precision fp16", "'fp16' is not one of its values. Did you mean 'float16'?"),
        (
            "--dataset ./photos",
            "named './photos', which is a path. Use --dataset image_folder --set dataset.root=./photos.",
        ),
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
            "(the least class has 139). Use --shots, --keep-one, or at least 0.0036.",
        ),
        ("--epochs 0", "train.epochs: 0 is out of range. Use at least 1 and at most 1e+06."),
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
        ("--executor locl", "no executor is named 'locl'. Did you mean 'local'"),
        (
            "--executor in-process --jobs 2",
            "--jobs: 2 processes were asked for, but in-process is one. Leave --jobs out, or use --executor",
        ),
        ("--jobs 0", "--jobs: 0 is not a whole number of at least 1."),
        ("--device cuda:99", "--device: cuda:99 is not available here."),
        ("--device gpu", "--device: gpu is not the name of a device."),
        ("--dataset cifar10", "is not there or not complete. Use --download, or set dataset.root"),
        ("--dataset image_folder", "image_folder: no folder was given. Set dataset.root=FOLDER."),
        (
            "--dataset image_folder --set dataset.root=none",
            "none is no folder, it is not there. Set dataset.root to a folder of images, or to a list",
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
        ("--lr 0.1", "No such option '--lr'. Did you mean '--set train.lr=VALUE'?"),
        ("--weight-decay 0.1", "Did you mean '--set train.weight_decay=VALUE'?"),
        ("--model resnet18", "No such option '--model'. Did you mean '--backbone' or '--method'?"),
        ("--num-epochs 5", "No such option '--num-epochs'. Did you mean '--epochs'?"),
        ("--zzz", "No such option '--zzz'. See `"),
        ("--device cpu --device cuda", "--device: it is given twice, --device cpu and --device cuda."),
        ("--jobs=1 --jobs=2", "--jobs: it is given twice, --jobs=1 and --jobs=2. Give it once."),
        ("--download --no-download", "--no-download: it is given twice, --download and --no-download."),
        ("a.yaml b.yaml", "Got unexpected extra argument (b.yaml)"),
    ],
)
def test_what_cannot_be_done_is_one_line_before_anything_is_made(
    folder: Path, args: str, message: str
) -> None:
    assert message in line_of(run(*args.split()))
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "message"),
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
        ("device: cuda:99", "--device: cuda:99 is not available here."),
        ("results: grid.yaml", "--results grid.yaml: "),
    ],
)
def test_a_grid_file_that_cannot_be_run_is_one_line(folder: Path, text: str, message: str) -> None:
    (folder / "grid.yaml").write_text(text)

    assert message in line_of(run("grid.yaml"))
    assert [path.name for path in folder.iterdir()] == ["grid.yaml"]


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
    ("args", "message"),
    [
        ("table", "no records in results. Run `bench run` first."),
        ("table --results elsewhere", "no records in elsewhere. Run `bench run` first."),
        ("status", "no records in results. Run `bench run` first."),
        ("status --results elsewhere", "no records in elsewhere."),
        ("tabel", "no command is named 'tabel'. Did you mean 'table'?"),
        ("train", "no command is named 'train'. Did you mean 'run'?"),
        ("table --metric=", "--metric: it is empty. Name one, or leave it out."),
        ("table --columns dataset", "No such option '--columns'. Did you mean '--cols'?"),
        ("table --transposed", "No such option '--transposed'. Did you mean '--transpose'?"),
    ],
)
def test_a_table_of_nothing_is_one_line(folder: Path, args: str, message: str) -> None:
    assert message in line_of(bench(*args.split()))
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("option", ["--method", "--results", "--set", "--device"])
@pytest.mark.parametrize("nothing", ["", "  "])
def test_an_option_without_a_value_is_one_line(option: str, nothing: str) -> None:
    assert f"{option}: it is empty. Name one, or leave it out." in line_of(bench("run", option, nothing))


def test_an_argument_that_is_empty_is_one_line() -> None:
    assert "compare: an argument is empty." in line_of(bench("compare", "", "simclr"))


def test_a_folder_that_is_named_as_a_dataset_is_said_to_be_one(folder: Path) -> None:
    (folder / "my photos").mkdir()

    assert "Use --dataset image_folder --set dataset.root='my photos'." in line_of(
        bench("run", "--dataset", "my photos")
    )


def test_what_is_named_twice_is_said_and_counts_once(folder: Path) -> None:
    result = run("--method", "random", "--seed", "0,1,0", "--set", "knn.k=5,5,5", "--dry-run")

    assert "Note: --seed: 0 is named twice, and counts once.\n" in result.stderr
    assert "Note: --set knn.k: 5 is named 3 times, and counts once.\n" in result.stderr
    assert "make 1" in result.stdout
    assert list(folder.iterdir()) == []


def test_what_changes_nothing_is_said_by_the_run() -> None:
    result = run("--method", "random", "--dry-run")

    assert result.stderr.count("Note: ") == 2
    assert "Note: --epochs: it changes nothing, for nothing is trained.\n" in result.stderr


@pytest.fixture
def at_a_terminal() -> click.Command:
    """Return a command that runs on cifar10 as if a person could be asked."""
    shell = Shell("bench")

    @shell.command("run")
    def run_asking() -> int:
        options = merge_options(None, {"dataset": ("cifar10",), "data_dir": "data"})
        return run_grid(options, Session(), dry_run=False, ask=True)

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

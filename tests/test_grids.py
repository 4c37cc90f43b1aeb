"""Every grid in grids/ says what it is, is planned as it says, and its first backbone is run at tiny size.

The data are small archives in the official formats; timm's weights are stood in for by random ones.
"""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import timm
from archives import HUNDRED, TEN, write_all
from bench_plugins.backbones.timm_weights import download
from conftest import Lab
from torch import nn

from bench.augmentation.named_ops import IN_ORDER
from bench.cli.main import main
from bench.planning.cells import Cell
from bench.planning.open_datasets import Datasets
from bench.planning.options import merge_options
from bench.planning.planner import plan
from bench.registry.registry import Registry

FOLDER = Path(__file__).parents[1] / "grids"
FILES = sorted(FOLDER.glob("*.yaml"))
WIDTH = 118
COUNTS = {  # cells, and backbones among them
    "batch-size": (10, 10),
    "digits-to-kana": (24, 6),
    "epochs": (20, 10),
    "few-labels": (24, 8),
    "imagenet-init-to-cifar100": (2, 2),
    "knn-90": (1, 1),
    "linear-vs-mlp": (12, 4),
    "one-gpu-large-batch": (2, 1),
    "transformations": (11, 11),
    "vicreg-hyperparameters": (16, 8),
}
TINY = {"epochs": ("1",), "batch_size": ("32",), "image_size": ("16",), "backbone": ("test_resnet",)}
SMALL_MLP = ("mlp.epochs=1", "mlp.hidden=[8]")
TINIER = {  # what is set beside it
    "digits-to-kana": ("mnist.max_train=60", "kmnist.max_train=60"),
    "few-labels": ("cifar10.max_train=600", *SMALL_MLP),
    "imagenet-init-to-cifar100": ("cifar10.max_train=60", "linear-sgd.epochs=2"),
    "linear-vs-mlp": ("dataset.max_train=60", *SMALL_MLP),
    "vicreg-hyperparameters": ("cifar10.max_train=60", "gtsrb.max_train=86", "vicreg.embedding_dim=16"),
}
Planned = Callable[[str], list[Cell]]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return the folder that all data is in, and be in it: as large as the largest batch asks for."""
    root = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        write_all(root, patch)
        patch.setattr(timm, "create_model", without_download(timm.create_model))
        patch.chdir(root)
        yield root
    download.cache_clear()


def without_download(real: Any) -> Any:
    def create(name: str, *, pretrained: bool = False, **sizes: Any) -> nn.Module:
        net: nn.Module = real(name, **sizes)
        return net

    return create


@pytest.fixture(scope="module")
def planned(data: Path, registry: Registry) -> Planned:
    """Return what plans a grid as the command in its header would."""

    def cells(name: str) -> list[Cell]:
        request = merge_options(FOLDER / f"{name}.yaml", given(header(FOLDER / f"{name}.yaml")["Command"][0]))
        return plan(request.request("float32"), registry, Datasets(registry, data))

    return cells


def header(file: Path) -> dict[str, list[str]]:
    """Return the lines of the comment at the top of a grid, by the word that they follow."""
    parts: dict[str, list[str]] = {}
    name = "title"
    for line in itertools.takewhile(lambda line: line.startswith("#"), file.read_text().splitlines()):
        found = re.match("# (Shows|Command|Cost|Expect): +", line)
        name = found[1] if found else name
        parts.setdefault(name, []).append(line[found.end() if found else 1 :].strip())
    return parts


def given(line: str) -> dict[str, Any]:
    """Return the options of a command line, as the command itself reads them."""
    words = shlex.split(line)
    options = main.commands["run"].make_context("run", words[2:]).params
    options["set"] = options.pop("set_")
    return {name: value for name, value in options.items() if name not in ("grid", "dry_run")}


def of(cells: Sequence[Cell], what: Callable[[Cell], Any]) -> set[Any]:
    """Return what is found in the cells, each once."""
    return {what(cell) for cell in cells}


# ---- all of them


def test_every_grid_has_an_expectation_here() -> None:
    assert [file.name for file in FILES] == [f"{name}.yaml" for name in sorted(COUNTS)]


def test_the_documentation_counts_the_cells_of_every_grid() -> None:
    text = (FOLDER.parent / "docs" / "grid-files.md").read_text()
    rows = re.findall(r"^\| `grids/(.+)\.yaml` \| .+ \| (\d+) \|$", text, re.MULTILINE)

    assert {name: int(cells) for name, cells in rows} == {name: cells for name, (cells, _) in COUNTS.items()}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_header_says_what_is_shown_how_at_what_cost_and_what_to_expect(file: Path) -> None:
    parts = header(file)

    assert list(parts) == ["title", "Shows", "Command", "Cost", "Expect"]
    assert all(len(lines[0]) > 20 for lines in parts.values())
    assert shlex.split(parts["Command"][0])[:3] == ["bench", "run", f"grids/{file.name}"]
    assert max(map(len, file.read_text().splitlines())) <= WIDTH


@pytest.mark.parametrize("name", COUNTS)
def test_a_grid_is_planned_without_a_cell_that_cannot_work(planned: Planned, name: str) -> None:
    cells = planned(name)

    assert (len(cells), len(of(cells, lambda cell: cell.keys.backbone))) == COUNTS[name]
    assert of(cells, lambda cell: cell.skip) == {None}


@pytest.mark.long
@pytest.mark.parametrize("name", COUNTS)
def test_the_first_backbone_of_a_grid_is_run(data: Path, lab: Lab, name: str) -> None:
    lab.datasets.data_dir = data
    smaller = {**TINY, "set": TINIER.get(name, ("dataset.max_train=60",))}
    request = merge_options(FOLDER / f"{name}.yaml", smaller).request("float32")
    cells = plan(request, lab.registry, lab.datasets)
    first = [cell for cell in cells if cell.keys.backbone == cells[0].keys.backbone]
    records = lab.run([first[0], *first[1:][-1:]])

    assert [record["status"] for record in records] == ["ok"] * len(records)
    assert all(0 <= record["metrics"]["top1"]["value"] <= 100 for record in records)


# ---- each of them


def test_linear_vs_mlp_reads_two_backbones_by_probes_of_three_depths(planned: Planned) -> None:
    cells = [cell for cell in planned("linear-vs-mlp") if cell.method.name == "simclr"]
    probes = {(c.backbone.name, c.evaluator.name, getattr(c.evaluator.config, "hidden", ())) for c in cells}
    depths = [("linear", ()), ("mlp", (512,)), ("mlp", (512, 512))]

    assert of(cells, lambda cell: cell.dataset.name) == {"cifar10"}
    assert probes == {(name, *depth) for name in ("resnet18", "resnet34") for depth in depths}


def test_digits_to_kana_goes_both_ways(planned: Planned) -> None:
    cells = [cell for cell in planned("digits-to-kana") if cell.method.name == "simclr"]
    ways = of(cells, lambda cell: (cell.dataset.name, cell.eval_dataset.name))

    assert ways == set(itertools.product(("mnist", "kmnist"), repeat=2))
    assert len(of(cells, lambda cell: cell.keys.backbone)) == 2


def test_vicreg_hyperparameters_are_three_and_transfer_to_signs(planned: Planned) -> None:
    cells = planned("vicreg-hyperparameters")
    settings = of(cells, lambda c: (c.method.config.invariance, c.method.config.covariance))
    widths = of(cells, lambda cell: cell.method.config.embedding_dim)

    assert of(cells, lambda cell: (cell.method.name, cell.dataset.name)) == {("vicreg", "cifar10")}
    assert settings == set(itertools.product((5, 25), (1, 10)))
    assert widths == {512, 2048}
    assert of(cells, lambda cell: cell.eval_dataset.name) == {"cifar10", "gtsrb"}


def test_knn_90_is_the_recipe_of_the_open_challenge(planned: Planned) -> None:
    (cell,) = planned("knn-90")
    training, (view, _) = cell.training, cell.views

    assert (training.optimizer, training.lr, training.weight_decay) == ("sgd", 0.06, 5e-4)
    assert (training.epochs, training.batch_size, training.precision) == (500, 512, "bfloat16")
    assert (cell.method.config.temperature, cell.evaluator.config.k) == (0.5, 10)
    assert (view.crop_min, view.brightness, view.hue, view.grey, view.blur) == (0.2, 0.4, 0.1, 0.1, 0)


def test_imagenet_init_trains_simclr_for_25_epochs_from_pretrained_weights(planned: Planned) -> None:
    cell, kept = planned("imagenet-init-to-cifar100")
    training = cell.training

    assert (cell.method.name, cell.backbone.name, cell.dataset.name) == ("simclr", "resnet18", "cifar10")
    assert cell.backbone.config.pretrained
    assert cell.method.config.embedding_dim == 128
    assert (training.epochs, training.batch_size, training.optimizer) == (25, 256, "adamw")
    assert (training.lr, training.weight_decay) == (2e-4, 1e-4)
    assert (kept.method.name, kept.training, kept.backbone) == ("random", None, cell.backbone)


def test_imagenet_init_is_judged_by_logistic_regression_on_ten_classes(planned: Planned) -> None:
    cell, kept = planned("imagenet-init-to-cifar100")
    probe = cell.evaluator.config

    assert (cell.eval_dataset, cell.evaluator) == (kept.eval_dataset, kept.evaluator)
    assert (cell.eval_dataset.name, cell.evaluator.name) == ("cifar100", "linear-sgd")
    assert (
        len({*cell.eval_dataset.config.classes} & {*HUNDRED}) == len(cell.eval_dataset.config.classes) == 10
    )
    assert (probe.batch_size, probe.epochs, probe.optimizer, probe.augment) == (32, 100, "adamw", False)
    assert (probe.lr_grid, probe.weight_decay) == ((1e-3,), 1e-3)


def test_few_labels_has_probes_of_simclr_and_supervised_on_all_labels(planned: Planned) -> None:
    cells = planned("few-labels")
    simclr = [cell for cell in cells if cell.method.name == "simclr"]
    probed = of(simclr, lambda cell: (cell.dataset.name, cell.evaluator.name, cell.label_frac))
    supervised = [cell for cell in cells if cell.method.name == "supervised"]

    assert probed == set(itertools.product(("cifar10", "stl10"), ("linear", "mlp"), (0.01, 0.1, 1)))
    assert of(simclr, lambda cell: (cell.dataset.name, cell.split)) == {
        ("cifar10", "train"),
        ("stl10", "train+unlabeled"),
    }
    assert all(cell.label_share == cell.label_frac for cell in supervised)
    assert {("cifar10", 1), ("stl10", 1)} < of(supervised, lambda c: (c.dataset.name, c.label_share))


def test_epochs_and_batch_size_vary_that_alone(planned: Planned) -> None:
    epochs, batches = planned("epochs"), planned("batch-size")

    assert of(epochs, lambda c: (c.training.epochs, c.training.batch_size)) == {
        (length, 512) for length in (50, 100, 200, 400, 800)
    }
    assert of(batches, lambda c: (c.training.epochs, c.training.batch_size)) == {
        (200, size) for size in (64, 128, 256, 512, 1024)
    }
    assert of(batches, lambda c: (c.method.name, round(c.training.lr / c.training.batch_size**0.5, 4))) == {
        ("simclr", 0.075),
        ("vicreg", 0.094),
    }


def test_transformations_are_all_all_but_one_and_each_pair(planned: Planned) -> None:
    every = ("crop", "flip", "jitter", "grey")
    sets = {ops for count in (2, 3, 4) for ops in itertools.combinations(every, count)}

    assert of(planned("transformations"), lambda cell: operations(cell.views)) == sets


def operations(views: Sequence[Any]) -> tuple[str, ...]:
    """Return the names of the operations that are on, alike in all views."""
    (found,) = {tuple(operation.name for operation in IN_ORDER if operation.is_on(view)) for view in views}
    return found


def test_one_gpu_large_batch_is_appendix_b9_from_a_folder(planned: Planned, registry: Registry) -> None:
    cell, _ = planned("one-gpu-large-batch")
    view, training = cell.views[0], cell.training
    folder = Datasets(registry).open(cell.dataset)

    assert (cell.method.name, cell.backbone.name, cell.dataset.name) == ("simclr", "resnet50", "image_folder")
    assert (training.optimizer, training.batch_size, training.image_size) == ("lars", 1024, 32)
    assert (training.lr, training.weight_decay, training.warmup_epochs) == (1.0 * 1024 / 256, 1e-6, 10)
    assert (cell.method.config.temperature, cell.method.config.embedding_dim) == (0.5, 128)
    assert (view.brightness, view.contrast, view.saturation, view.hue) == (0.4, 0.4, 0.4, 0.1)
    assert (view.blur, cell.backbone.config.stem) == (0, "auto")
    assert folder.info.classes == tuple(reversed(TEN))

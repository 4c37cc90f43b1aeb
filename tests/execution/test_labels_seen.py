"""What a method that uses labels is trained on: the images of its column, all alike; and its readout."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Lab
from photos import photos
from PIL import Image
from torch import Tensor

from bench.contracts.method import Batch, Embeddings
from bench.planning.cells import Cell
from bench.pretraining.channel_statistics import measure_channels
from bench.splits.label_pool import labelled_rows

SIDE = 16
COUNTS = {"train": 8, "val": 6, "test": 4}  # of each of three classes


@dataclass
class Seen:
    """The images and labels that a training was given, in order."""

    images: list[Tensor] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    index: list[int] = field(default_factory=list)


@pytest.fixture
def seen(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Seen]:
    """Watch what `supervised` is trained on."""
    supervised, watched = lab.registry.load_class("methods", "supervised"), Seen()
    embed = supervised.embed

    def watching(self: Any, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        watched.images.extend(views[0])
        watched.labels.extend(batch.labels.tolist())
        watched.index.extend(batch.index.tolist())
        embeddings: Embeddings = embed(self, views, batch)
        return embeddings

    monkeypatch.setattr(supervised, "embed", watching)
    return watched


def folder(root: Path) -> Path:
    """Write the images of all splits at the size that the backbone sees."""
    for path in photos(root, COUNTS).rglob("*.png"):
        with Image.open(path) as image:
            image.resize((SIDE, SIDE), Image.Resampling.NEAREST).save(path)
    return root


def plan(lab: Lab, root: Path, settings: dict[str, Any] | None = None, **axes: Any) -> list[Cell]:
    """Plan trainings on whole images of the folder, of 3 epochs of 2 steps of 10."""
    few = {"dataset.root": str(root), "dataset.max_train": None, "train.image_size": SIDE, "views.ops": ((),)}
    few |= {"train.epochs": 3, "train.batch_size": 10, **(settings or {})}
    return lab.plan(few, **{"method": "supervised", "backbone": "tiny", "dataset": "image_folder", **axes})


def as_bytes(images: Sequence[Tensor], lab: Lab, cell: Cell) -> list[bytes]:
    """Return normalised images as the bytes they were made of."""
    mean, std = (torch.tensor(v).view(-1, 1, 1) for v in measure_channels(pool(lab, cell, "train")[0]))
    return [((x * std + mean) * 255).round().to(torch.uint8).numpy().tobytes() for x in images]


def pool(lab: Lab, cell: Cell, *splits: str) -> list[Any]:
    return [lab.datasets.open(cell.dataset).load(split) for split in splits]


def column_of(lab: Lab, cell: Cell) -> list[tuple[bytes, int]]:
    """Return the images and labels of a cell's column."""
    parts = pool(lab, cell, "train", "val")
    pixels, labels = (
        torch.cat([getattr(part, name) for part in parts]).clone() for name in ("pixels", "labels")
    )
    rows = labelled_rows(labels, cell.label_frac, cell.seed).tolist()
    return [(pixels[row].contiguous().numpy().tobytes(), int(labels[row])) for row in rows]


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.7, 1.0])
def test_training_sees_the_images_of_its_column_and_no_others_equally_often(
    probing: Lab, tmp_path: Path, seen: Seen, fraction: float
) -> None:
    (cell,) = plan(probing, folder(tmp_path / "photos"), label_frac=fraction)
    (record,) = probing.run([cell])
    counts = Counter(zip(as_bytes(seen.images, probing, cell), seen.labels, strict=True))
    column = column_of(probing, cell)

    assert record["status"] == "ok"
    assert counts.keys() == set(column)
    assert len(column) == cell.label_count == round(14 * fraction) * 3
    assert max(counts.values()) - min(counts.values()) <= 1
    assert counts.total() == 60


def test_labels_that_all_lie_in_the_validation_split_are_trained_on(
    probing: Lab, tmp_path: Path, seen: Seen
) -> None:
    cells = plan(probing, folder(tmp_path / "photos"), label_frac=0.05, seed=tuple(range(60)))
    train, val = pool(probing, cells[0], "train", "val")
    labels = torch.cat([train.labels, val.labels])
    cell = next(cell for cell in cells if labelled_rows(labels, 0.05, cell.seed).min() >= len(train))
    (record,) = probing.run([cell])

    assert record["status"] == "ok"
    assert sorted(set(seen.index)) == labelled_rows(labels, 0.05, cell.seed).tolist()
    assert sorted(Counter(seen.index).values()) == [20] * 3


def test_every_method_of_a_row_takes_the_same_steps(probing: Lab, tmp_path: Path) -> None:
    root = folder(tmp_path / "photos")
    cells = plan(probing, root, method=("supervised", "simclr"), label_frac=(0.1, 0.7, 1.0))

    assert {cell.steps for cell in cells} == {6}
    assert {cell.epoch_images for cell in cells} == {24}


def test_the_record_says_what_was_seen_how_often(probing: Lab, tmp_path: Path) -> None:
    root = folder(tmp_path / "photos")
    cells = plan(probing, root, method=("supervised", "simclr"), label_frac=(0.5, 1.0))
    half, whole, *ssl = (record["protocol"] for record in probing.run(cells))
    names = ("training_labels", "training_images", "training_passes")

    assert [half[name] for name in names] == [0.5, 21, 2.86]
    assert [whole[name] for name in names] == [1.0, 42, 1.43]
    assert [[record.get(name) for name in names] for record in ssl] == [[0.0, None, None]] * 2


def test_files_that_are_streamed_are_those_of_the_column_too(
    probing: Lab, tmp_path: Path, seen: Seen
) -> None:
    root = folder(tmp_path / "photos")
    probing.run(plan(probing, root, label_frac=0.7))
    stored, seen.index, seen.labels = (seen.index, seen.labels), [], []
    (record,) = probing.run(plan(probing, root, {"dataset.stream": True}, label_frac=0.7))

    assert record["status"] == "ok"
    assert (seen.index, seen.labels) == stored


# ---- the readout


def test_nothing_is_chosen_on_labels_that_the_backbone_was_trained_with(
    probing: Lab, probes: Any, tmp_path: Path
) -> None:
    root = folder(tmp_path / "photos")
    methods = ("supervised", "simclr")
    probing.run(plan(probing, root, method=methods, evaluator="witness", label_frac=(0.5, 1.0)))
    trained_with, others = probes.SEEN[:2], probes.SEEN[2:]

    assert [(task.seen, task.own_val, len(task.folds)) for task in trained_with] == [(True, False, 0)] * 2
    assert [(task.seen, task.own_val, len(task.folds)) for task in others] == [
        (False, False, 5),
        (False, True, 1),
    ]
    assert [len(task.train) for task in probes.SEEN] == [21, 42] * 2


def test_labels_of_other_data_are_chosen_on(probing: Lab, probes: Any, tmp_path: Path) -> None:
    one, other = (folder(tmp_path / name) for name in ("one", "other"))
    (other / "train" / "ant" / "0.png").write_bytes((other / "train" / "cow" / "0.png").read_bytes())
    elsewhere = {"eval_dataset.root": str(other)}
    probing.run(plan(probing, one, elsewhere, eval_dataset="image_folder", evaluator="witness"))
    probing.run(plan(probing, one, eval_dataset="digits", evaluator="witness"))
    again = {"eval_dataset.max_train": 9, "eval_dataset.root": str(one)}
    probing.run(plan(probing, one, again, eval_dataset="image_folder", evaluator="witness"))

    assert [task.seen for task in probes.SEEN] == [False, False, True]
    assert [bool(task.folds) for task in probes.SEEN] == [True, True, False]


@pytest.mark.parametrize(
    ("evaluator", "used"),
    [
        ("linear", {"l2": 0.01}),
        ("mlp", {"lr": 2e-3, "weight_decay": 10.0, "epochs": 10}),
        ("linear-sgd", {"lr": 0.1}),
        ("finetune", {"lr_backbone": 0.03, "lr_head": 0.08}),
        ("label-fraction", {"classifier": "linear"}),
    ],
)
def test_an_evaluator_uses_its_defaults_where_all_labels_were_seen(
    probing: Lab, tmp_path: Path, evaluator: str, used: dict[str, float]
) -> None:
    root, short = folder(tmp_path / "photos"), {"finetune.epochs": 1, "linear-sgd.epochs": 1}
    settings = {name: value for name, value in short.items() if name.partition(".")[0] == evaluator}
    (record,) = probing.run(plan(probing, root, settings, evaluator=evaluator))
    protocol = record["protocol"]

    assert record["status"] == "ok"
    assert {name: protocol[name] for name in used} == used
    assert (protocol["selected"], protocol["selected_split"]) == ("nothing", "nothing")
    assert protocol["selected_on"].endswith("nothing: the backbone was trained with these labels")


def test_a_subset_of_labels_that_were_seen_has_no_folds_either(
    probing: Lab, probes: Any, tmp_path: Path
) -> None:
    root = folder(tmp_path / "photos")
    probing.run(plan(probing, root, method=("supervised", "simclr"), evaluator="witness"))
    seen, unseen = (task.subset(0.5, seed=3) for task in probes.SEEN)

    assert (seen.seen, seen.folds) == (True, ())
    assert (unseen.seen, len(unseen.folds)) == (False, 5)

"""Folders of one's own: told apart by name from the plan to the table, and photos without a label."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Lab
from photos import photos

import bench
from bench.errors import BadData
from bench.execution.backbone_export import describe
from bench.execution.stored_backbone import build_stored, find_made
from bench.reporting.data_notes import describe_data_notes
from bench.reporting.status import describe_status
from bench.reporting.table import table

OWN = {"dataset.max_train": None, "knn.k": 3}


def on(*folders: Path) -> dict[str, object]:
    roots = dict(zip(("dataset.root", "eval_dataset.root"), map(str, folders), strict=False))
    return {**OWN, **roots}


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Return two folders with the same classes and other images."""
    first = photos(tmp_path / "holiday", {"train": 8, "test": 4})
    return first, photos(tmp_path / "garden", {"train": 9, "test": 5})


def test_two_folders_are_columns_of_their_names_and_transfer_is_told(
    lab: Lab, folders: tuple[Path, Path]
) -> None:
    holiday, garden = folders
    cells = [
        cell
        for settings in (on(holiday), on(garden), on(holiday, garden))
        for cell in lab.plan(settings, dataset="image_folder")
    ]
    records = lab.run(cells)
    text = table(records, folder=lab.folder)

    assert [cell.title for cell in cells] == [
        "random test_resnet holiday seed 0 knn 100 %",
        "random test_resnet garden seed 0 knn 100 %",
        "random test_resnet holiday seed 0 -> garden knn 100 %",
    ]
    assert "fingerprint" not in text
    assert "trained on" in text
    assert {"holiday", "garden"} <= set(text.replace("|", " ").split())
    assert lab.store.path(cells[0].names, cells[0].keys.score).parent.name == "holiday"
    frame = bench.results(lab.folder)
    pairs = set(zip(frame["dataset"], frame["eval_dataset"], strict=True))
    assert pairs == {("holiday", "holiday"), ("garden", "garden"), ("holiday", "garden")}
    assert "holiday" in describe_status(records, lab.folder)


def test_a_name_that_is_set_is_in_no_key(lab: Lab, folders: tuple[Path, Path]) -> None:
    (plain,) = lab.plan(on(folders[0]), dataset="image_folder")
    (named,) = lab.plan({**on(folders[0]), "dataset.name": "Summer"}, dataset="image_folder")
    (record,) = lab.run([named])

    assert plain.keys == named.keys
    assert record["cell"]["dataset_name"] == "Summer"
    assert "dataset.name" not in record["settings"]
    assert lab.run([plain]) == [record]


def test_labels_of_another_folder_are_not_those_that_were_seen(lab: Lab, folders: tuple[Path, Path]) -> None:
    axes = {"method": "supervised", "dataset": "image_folder"}
    small = {"train.batch_size": 8, "train.epochs": 1}
    (own,) = lab.plan({**on(folders[0]), **small}, **axes)
    (other,) = lab.plan({**on(*folders), **small}, **axes)

    assert (own.has_seen_labels, other.has_seen_labels) == (True, False)


def test_photos_without_labels_are_pretrained_on_and_evaluated_elsewhere(lab: Lab, tmp_path: Path) -> None:
    folder = photos(tmp_path / "labelled", {"train": 12}) / "train" / "ant"
    settings = {**on(folder), "train.batch_size": 4, "train.epochs": 1, "knn.k": 3}
    cells = lab.plan(settings, dataset="image_folder", method="simclr", eval_dataset="digits")
    (record,) = lab.run(cells)

    assert record["status"] == "ok"
    assert (cells[0].epoch_images, cells[0].split) == (12, "train")
    assert record["notes"][0].startswith("there are no labels: all images are pretrained on")
    assert describe_data_notes([record])[0].startswith("ant: there are no labels")
    with pytest.raises(
        BadData, match=r"there are labels of 0 training and 0 of 2 test images\. Evaluate on another"
    ):
        lab.plan(on(folder), dataset="image_folder")


def test_a_measure_without_labels_works_on_photos_without_labels(lab: Lab, tmp_path: Path) -> None:
    folder = photos(tmp_path / "labelled", {"train": 12}) / "train" / "ant"
    settings = {**on(folder), "knn.k": None}
    (record,) = lab.run(lab.plan(settings, dataset="image_folder", evaluator="geometry"))

    assert record["status"] == "ok"
    assert record["metrics"]["rankme"]["n"] == 2


def test_images_beside_the_splits_are_seen_by_pretraining_alone(lab: Lab, tmp_path: Path) -> None:
    root = photos(tmp_path / "photos", {"train": 8, "test": 4})
    (photos(tmp_path / "more", {"train": 8}) / "train" / "ant").rename(root / "unlabeled")
    settings = {**on(root), "train.batch_size": 8, "train.epochs": 1}
    cells = lab.plan(settings, dataset="image_folder", method=("simclr", "supervised"))
    by_method = {record["cell"]["method"]: record for record in lab.run(cells)}

    assert [(cell.split, cell.epoch_images) for cell in cells] == [("train+unlabeled", 32), ("train", 32)]
    assert by_method["simclr"]["metrics"]["top1"]["n"] == 12
    assert by_method["supervised"]["protocol"]["training_images"] == 24


def test_classes_are_named_as_they_are_written(lab: Lab, tmp_path: Path) -> None:
    from bench.planning.options import merge_options

    root = photos(tmp_path / "photos", {"train": 8, "test": 4})
    for split in ("train", "test"):
        (root / split / "ant").rename(root / split / "1e5")
        (root / split / "bee").rename(root / split / "true")
    options = merge_options(None, {"set": ("dataset.classes=[1e5,true]",)})
    (classes,) = options.settings["dataset.classes"]
    (cell,) = lab.plan({**on(root), "dataset.classes": (classes,)}, dataset="image_folder")

    assert cell.dataset.config.classes == ("1e5", "true")
    assert cell.settings["dataset.classes"] == ["1e5", "true"]


@pytest.mark.parametrize(
    "what", ["random/holiday", "random/image_folder", "dataset=holiday", "dataset=image_folder"]
)
def test_a_backbone_is_found_by_its_folder_and_says_it(
    lab: Lab, folders: tuple[Path, Path], what: str
) -> None:
    (cell,) = lab.plan(on(*folders), dataset="image_folder")
    lab.run([cell])
    made = find_made(what, lab.folder)
    about = describe(build_stored(made, lab.registry), "safetensors")

    assert made.key == cell.keys.backbone
    assert about["dataset"] == "holiday"
    assert [score["dataset"] for score in about["scores"]] == ["garden"]

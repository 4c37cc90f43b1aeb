"""Groups of images in a run: no evaluator and no method gets a part of one, and records and keys say so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from archives import sign, write_gtsrb
from bench_plugins.datasets.gtsrb import GTSRB
from conftest import Lab
from photos import photos

from bench.contracts.evaluator import Task
from bench.evaluation.tasks import build_network
from bench.planning.planner import Datasets
from bench.splits.grouped import pool_groups
from bench.splits.label_pool import labelled_rows

EACH = 3  # images of a patient
LOADED = {"dataset.max_train": None, "train.image_size": None}


@pytest.fixture
def clinic(tmp_path: Path) -> Path:
    """Return 3 x 36 training images of 36 patients, and 3 x 3 test images of others."""
    root = photos(tmp_path / "clinic", {"train": 12 * EACH, "test": EACH})
    files = [path.relative_to(root) for path in sorted(root.rglob("*.png"))]
    of = {
        str(f): f"{f.parts[0]} {f.parts[1]} {int(f.stem) % 12 if f.parts[0] == 'train' else 0}" for f in files
    }
    lines = ["file,patients", *(f"{file},{patient}" for file, patient in of.items())]
    (root / "groups.csv").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture
def signs(tmp_path: Path) -> Path:
    write_gtsrb(tmp_path / "gtsrb")
    for path in (tmp_path / "gtsrb").rglob("*.ppm"):
        sign(path, int(path.name[:5]) % 200)
    return tmp_path


def plan(lab: Lab, root: Path, dataset: str = "image_folder", **axes: Any) -> list[Any]:
    lab.datasets = Datasets(lab.registry, lab.folder.parent / "data")
    return lab.plan({**LOADED, "dataset.root": str(root)}, dataset=dataset, **axes)


def parted(task: Task, rows: torch.Tensor) -> bool:
    """Tell whether rows hold a part of a group, but not all of it."""
    assert task.train.groups is not None
    inside = torch.isin(task.train.groups, task.train.groups[rows])
    return int(inside.sum()) != len(rows)


@pytest.mark.parametrize("fraction", [0.25, 0.5, 1.0])
def test_subsets_and_folds_are_of_whole_groups(
    probing: Lab, probes: Any, clinic: Path, fraction: float
) -> None:
    (record,) = probing.run(plan(probing, clinic, evaluator="witness", label_frac=fraction))
    (task,) = probes.SEEN
    groups = task.train.groups

    assert groups is not None
    assert set(groups.bincount()[groups.unique()].tolist()) == {EACH}
    assert len(groups) == 108 * fraction
    assert len(task.folds) == min(5, 12 * fraction)
    assert not any(parted(task, part) for pair in task.folds for part in pair)
    assert record["protocol"]["groups"] == "patients"
    assert record["protocol"]["labelled_groups"] == 36 * fraction


def test_a_subset_of_a_task_is_of_whole_groups_with_folds_of_its_own(
    probing: Lab, probes: Any, clinic: Path
) -> None:
    probing.run(plan(probing, clinic, evaluator="witness", label_frac=1.0))
    part = probes.SEEN[0].subset(0.5, 7)

    assert len(part.train) == 54
    assert set(part.train.groups.bincount()[part.train.groups.unique()].tolist()) == {EACH}
    assert len(part.folds) == 5
    assert not any(parted(part, rows) for pair in part.folds for rows in pair)


def test_a_method_that_uses_labels_is_trained_on_the_groups_that_are_evaluated_with(
    lab: Lab, clinic: Path
) -> None:
    (cell,) = plan(lab, clinic, method="supervised", label_frac=0.5)
    data = lab.datasets.open(cell.dataset)
    labels, groups = torch.tensor(data.labels("train")), torch.from_numpy(pool_groups(data))
    rows = labelled_rows(labels, 0.5, cell.seed, groups)

    assert cell.label_count == 54
    assert len(rows) == 54
    assert set(groups[rows].bincount()[groups[rows].unique()].tolist()) == {EACH}


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    networks: list[Any] = []

    def keep(*args: Any) -> Any:
        networks.append(build_network(*args))
        return networks[-1]

    monkeypatch.setattr("bench.execution.score_stage.build_network", keep)
    return networks


def test_the_images_of_a_network_are_of_the_rows_of_the_features(
    probing: Lab, probes: Any, clinic: Path, built: list[Any]
) -> None:
    from bench.splits.label_pool import labelled_rows

    settings = {"method": "probe", "backbone": "tiny", "evaluator": "finetune", "label_frac": 0.5}
    probing.datasets = Datasets(probing.registry, probing.folder.parent / "data")
    told = {**LOADED, "dataset.root": str(clinic), "finetune.epochs": 1}
    (cell,) = probing.plan(told, dataset="image_folder", **settings)
    (record,) = probing.run([cell])
    data = probing.datasets.open(cell.dataset)
    images, groups = data.load("train"), torch.tensor(data.groups("train"))
    rows = labelled_rows(images.labels, 0.5, 0, groups)

    assert record["status"] == "ok"
    assert torch.equal(built[0].train.pixels, images.pixels[rows])
    assert rows.tolist() != labelled_rows(images.labels, 0.5, 0).tolist()


def test_a_fraction_without_room_for_a_group_is_a_skipped_cell_that_says_how_many_labels_do(
    lab: Lab, clinic: Path
) -> None:
    few, enough = plan(lab, clinic, label_frac=(0.03, 0.5))

    assert enough.skip is None
    assert few.skip == (
        "image_folder: a label fraction of 0.03 leaves ant, bee, cow without an image "
        "(groups of images stay whole). Use --shots, --keep-one, or at least 0.04167."
    )


def test_the_curve_over_labels_leaves_out_what_is_less_than_a_group(lab: Lab, clinic: Path) -> None:
    (record,) = lab.run(plan(lab, clinic, evaluator="label-fraction"))

    assert record["protocol"]["left_out"] == [0.001, 0.01]
    assert record["protocol"]["labels"] == [9, 108]
    assert record["protocol"]["labelled_groups"] == 36


def test_data_without_groups_says_nothing_of_them(lab: Lab) -> None:
    (record,) = lab.run(lab.plan())

    assert not {"groups", "labelled_groups"} & record["protocol"].keys()


# ---- keys


def ungroup(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(self: GTSRB, split: str) -> None:
        return None

    monkeypatch.setattr(GTSRB, "groups", none)


def test_groups_move_a_key_only_where_they_move_numbers(
    lab: Lab, signs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all labels GTSRB chooses on its own validation split, which was always of whole tracks."""

    def keys() -> dict[tuple[str, Any], str]:
        cells = plan(
            lab, signs, "gtsrb", evaluator=("linear", "label-fraction", "geometry"), label_frac=(0.7, 1.0)
        )
        cells += plan(lab, signs, "gtsrb", method="supervised", label_frac=(0.7, 1.0))
        named = [(f"{cell.method.name} {cell.evaluator.name}", cell.label_frac, cell) for cell in cells]
        scores = {(name, fraction): cell.keys.score for name, fraction, cell in named}
        return scores | {
            (f"backbone of {name}", fraction): cell.keys.backbone for name, fraction, cell in named
        }

    grouped = keys()
    ungroup(monkeypatch)
    alone = keys()

    assert {name for name, key in grouped.items() if key != alone[name]} == {
        ("random linear", 0.7),
        ("random label-fraction", None),
        ("supervised knn", 0.7),
        ("backbone of supervised knn", 0.7),
    }


def test_two_groupings_of_the_same_images_have_two_scores_on_one_backbone(lab: Lab, clinic: Path) -> None:
    axes = {"evaluator": ("linear", "knn")}
    before = plan(lab, clinic, **axes)
    table = clinic / "groups.csv"
    text = table.read_text()
    table.write_text(text.replace("train ant 1\n", "train ant 2\n"))
    after = plan(lab, clinic, **axes)
    table.write_text(text.replace("train ant 1\n", "train ant one\n"))
    renamed = plan(lab, clinic, **axes)

    assert [cell.keys.backbone for cell in after] == [cell.keys.backbone for cell in before]
    assert [cell.keys.features for cell in after] == [cell.keys.features for cell in before]
    assert not {cell.keys.score for cell in after} & {cell.keys.score for cell in before}
    assert [cell.keys for cell in renamed] == [cell.keys for cell in before]

"""A dry run says what a run would do, and does nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from conftest import Lab

from bench.inspection.dry_run import describe_run, estimate_seconds
from bench.planning.cells import Cell


def describe(lab: Lab, cells: Sequence[Cell]) -> list[str]:
    device = torch.device("cpu")
    text = describe_run(cells, lab.datasets, lab.registry, lab.store, lab.artifacts, device)
    return text.splitlines()


def rows(lab: Lab, cells: Sequence[Cell]) -> list[list[str]]:
    """Return the table's body, a cell being what stands between two spaces or more."""
    lines = describe(lab, cells)
    return [re.split(r" {2,}", line.strip()) for line in lines[2 : lines.index("")]]


def test_what_is_not_there_is_to_be_made_and_nothing_is_written(probing: Lab) -> None:
    cells = probing.plan(method="simclr", backbone="tiny", evaluator=("knn", "witness"))
    (row,) = rows(probing, cells)

    assert row[:2] == ["simclr tiny digits seed 0", "make"]
    assert re.fullmatch(r"\d+ s", row[2])
    assert row[3] == "make 2"
    assert not probing.folder.exists()


@pytest.mark.parametrize("method", ["npid", "deepcluster_v2"])
def test_a_method_with_a_row_for_each_image_is_timed_on_more_images_than_there_are(
    probing: Lab, method: str
) -> None:
    few = {"dataset.max_train": 48, "train.batch_size": 40}
    few |= {"method.prototypes": 8} if method == "deepcluster_v2" else {}
    (row,) = rows(probing, probing.plan(few, method=method, backbone="tiny"))

    assert re.fullmatch(r"\d+ s", row[2])


def test_what_is_there_is_had_and_takes_no_time(probing: Lab, probes: Any) -> None:
    cells = probing.plan(method="probe", backbone="tiny", evaluator=("knn", "witness"))
    probing.run(cells[:1])
    partly, made = rows(probing, cells), len(probes.MADE)
    probing.run(cells)

    assert partly == [["probe tiny digits seed 0", "have", "have 1, make 1"]]
    assert rows(probing, cells) == [["probe tiny digits seed 0", "have", "have 2"]]
    assert made == 1
    assert describe(probing, cells)[-1] == "Pretraining left: 0 s. Nothing was made."


def test_what_has_its_features_needs_no_backbone(probing: Lab, probes: Any) -> None:
    probing.run(probing.plan({"knn.k": 3}, method="probe", backbone="tiny"))
    (cell,) = probing.plan({"knn.k": 4}, method="probe", backbone="tiny")
    (probing.artifact(cell.keys.backbone) / "manifest.json").unlink()

    assert rows(probing, [cell]) == [["probe tiny digits seed 0", "have", "make 1"]]


def test_a_failed_cell_is_to_be_made(probing: Lab, probes: Any) -> None:
    cells = probing.plan(backbone="tiny", evaluator="witness")
    probes.BREAK["evaluator"] = True
    probing.run(cells)

    assert rows(probing, cells) == [["random tiny digits seed 0", "have", "make 1"]]


def test_what_cannot_work_is_skipped_with_its_reason(probing: Lab) -> None:
    cells = probing.plan({"train.image_size": (8, 16)}, backbone="tiny")
    small, large = rows(probing, cells)

    assert small[1:] == ["skip", "skip 1", "tiny needs 16 px, the images have 8. Set --image-size."]
    assert large[1:] == ["make", "0 s", "make 1"]


def test_what_cannot_work_is_told_beside_what_can(probing: Lab) -> None:
    (row,) = rows(probing, probing.plan(label_frac=(0.01, 1.0), backbone="tiny"))

    assert row[1:4] == ["make", "0 s", "make 1, skip 1"]
    assert row[4].startswith("digits: a label fraction of 0.01 leaves")


def test_backbones_of_one_name_are_told_apart_by_what_was_set(probing: Lab) -> None:
    settings = {"method.temperature": (0.1, 0.2), "knn.k": (1, 2)}
    lines = rows(probing, probing.plan(settings, method="simclr", backbone="tiny"))

    assert [row[0] for row in lines] == [
        "simclr tiny digits method.temperature=0.1 seed 0",
        "simclr tiny digits method.temperature=0.2 seed 0",
    ]
    assert [row[3] for row in lines] == ["make 2", "make 2"]


def test_the_estimate_grows_with_the_epochs(probing: Lab) -> None:
    short, long = probing.plan({"train.epochs": (100, 100_000)}, method="simclr", backbone="tiny")
    seconds = [
        estimate_seconds(cell, probing.datasets, probing.registry, torch.device("cpu"))
        for cell in (short, long)
    ]

    assert seconds[0] is not None
    assert seconds[1] is not None
    assert 0 < 20 * seconds[0] < seconds[1]
    assert re.fullmatch(
        r"Pretraining left: (\d+ (h|min|s) ?)+\. Nothing was made\.", describe(probing, [long])[-1]
    )


def test_steps_on_views_of_several_sizes_are_timed(probing: Lab) -> None:
    cells = probing.plan({"train.image_size": 32}, method="crops", backbone="tiny")
    (row,) = rows(probing, cells)

    assert [view.size for view in cells[0].views] == [None, None, 16, 16, 16]
    assert row[1] == "make"
    assert re.fullmatch(r"\d+ s", row[2])


def test_a_backbone_that_cannot_take_a_views_size_is_skipped_with_its_reason(probing: Lab) -> None:
    cells = probing.plan({"train.image_size": 32}, method="crops", backbone=("rigid", "tiny"))
    rigid, tiny = rows(probing, cells)

    assert rigid[1:] == ["skip", "skip 1", "rigid takes 32 px only, a view has 16. Leave views.size out."]
    assert tiny[1] == "make"


def test_a_backbone_that_cannot_be_built_takes_an_unknown_time(
    probing: Lab, probes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Any, *args: Any) -> None:
        raise OSError("the weights cannot be downloaded")

    cells = probing.plan(method="crops", backbone="tiny")
    monkeypatch.setattr(probes.Tiny, "__init__", refuse)

    assert rows(probing, cells)[0][1:3] == ["make", "unknown"]


@pytest.mark.parametrize("how", ["raise", "nan"])
def test_what_cannot_be_timed_is_said_to_be_unknown(probing: Lab, probes: Any, how: str) -> None:
    probes.BREAK |= {"how": how, "step": 1}
    cells = probing.plan(method="probe", backbone="tiny")

    assert rows(probing, cells)[0][1:3] == ["make", "unknown"]
    assert describe(probing, cells)[-1] == (
        "Pretraining left: 0 s, and 1 that could not be timed. Nothing was made."
    )


@pytest.mark.parametrize("precision", ["tf32", "float32"])
def test_steps_are_timed_in_the_arithmetic_of_the_training(
    probing: Lab, probes: Any, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    seen, terms = set(), probes.Probe.terms

    def watch(self: Any, *args: Any) -> Any:
        seen.add((torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32))
        return terms(self, *args)

    monkeypatch.setattr(probes.Probe, "terms", watch)
    (cell,) = probing.plan({"train.precision": precision}, method="probe", backbone="tiny")
    seconds = estimate_seconds(cell, probing.datasets, probing.registry, torch.device("cpu"))

    assert seconds is not None
    assert seen == {(precision == "tf32",) * 2}

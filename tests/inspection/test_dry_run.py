"""A dry run says what a run would do, and does nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from conftest import Lab

from bench.inspection.dry_run import describe_run
from bench.inspection.estimates import Estimator, Span
from bench.planning.cells import Cell

TAKES = r"\d+ s( \(\d+ s to \d+ s\))?"
SPAN = r"(\d+ (h|min|s) ?)+( \(.* to .*\))?"


def estimator(lab: Lab) -> Estimator:
    return Estimator(lab.datasets, lab.registry, torch.device("cpu"))


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
    assert re.fullmatch(TAKES, row[2])
    assert row[3] == "make 2"
    assert not probing.folder.exists()


@pytest.mark.parametrize("method", ["npid", "deepcluster_v2"])
def test_a_method_with_a_row_for_each_image_is_timed_on_more_images_than_there_are(
    probing: Lab, method: str
) -> None:
    few = {"dataset.max_train": 48, "train.batch_size": 40}
    few |= {"method.prototypes": 8} if method == "deepcluster_v2" else {}
    (row,) = rows(probing, probing.plan(few, method=method, backbone="tiny"))

    assert re.fullmatch(TAKES, row[2])


def test_what_is_there_is_had_and_takes_no_time(probing: Lab, probes: Any) -> None:
    cells = probing.plan(method="probe", backbone="tiny", evaluator=("knn", "witness"))
    probing.run(cells[:1])
    partly, made = rows(probing, cells), len(probes.MADE)
    probing.run(cells)

    assert partly == [["probe tiny digits seed 0", "have", "have 1, make 1"]]
    assert rows(probing, cells) == [["probe tiny digits seed 0", "have", "have 2"]]
    assert made == 1
    assert describe(probing, cells)[-1] == (
        "Pretraining left: 0 s. Features: 0 s. Evaluation: 0 s. Nothing was made."
    )


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
    timed = estimator(probing)
    spans = [timed.pretraining(cell) for cell in (short, long)]

    assert [span.unknown for span in spans] == [0, 0]
    assert spans[1].likely == pytest.approx(1000 * spans[0].likely)
    assert 0 < spans[0].low <= spans[0].likely <= spans[0].high
    assert re.fullmatch(
        rf"Pretraining left: {SPAN}\. Features: {SPAN}\. Evaluation: {SPAN}\. Nothing was made\.",
        describe(probing, [long])[-1],
    )


def test_a_shape_is_timed_once(probing: Lab, probes: Any) -> None:
    settings = {"train.lr": (0.1, 0.2), "train.epochs": (2, 3)}
    cells = probing.plan(settings, method="probe", backbone="tiny", seed=(0, 1, 2))
    timed = estimator(probing)
    for cell in cells:
        timed.pretraining(cell)
    made = len(probes.MADE)
    other = probing.plan({"train.batch_size": 8}, method="probe", backbone="tiny")
    timed.pretraining(other[0])

    assert len(cells) == 12
    assert made == 1
    assert len(probes.MADE) == 2


def test_features_take_time_by_images_and_evaluators_by_rows(probing: Lab) -> None:
    few, many = (probing.plan({"dataset.max_train": count}, backbone="tiny")[0] for count in (48, 480))
    timed = estimator(probing)
    features = [timed.features(cell, "train") for cell in (few, many)]
    evaluation = [timed.evaluation(cell) for cell in (few, many)]

    assert features[1].likely == pytest.approx(10 * features[0].likely)
    assert all(span.unknown == 0 and 0 < span.low <= span.likely <= span.high for span in evaluation)


def test_an_evaluator_is_not_run_on_more_rows_than_it_takes_to_see_how_it_grows(
    probing: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, real = [], Estimator.time_evaluator

    def slow(self: Any, cell: Cell, classes: tuple[str, ...], rows: int) -> Span:
        seen.append(rows)
        assert real(self, cell, classes, rows).unknown == 0
        return Span(rows / 100, rows / 100, rows / 100)

    monkeypatch.setattr(Estimator, "time_evaluator", slow)
    (cell,) = probing.plan({"dataset.max_train": None}, backbone="tiny")
    span = estimator(probing).evaluation(cell)

    assert seen == [256, 1024]
    assert span.likely == pytest.approx(14.38)
    assert span.low == pytest.approx(10.24 * (1438 / 1024) ** 0.5)
    assert span.high == pytest.approx(14.38)


def test_an_evaluator_that_trains_the_network_cannot_be_timed(probing: Lab) -> None:
    cells = probing.plan(backbone="tiny", evaluator="finetune")

    assert estimator(probing).evaluation(cells[0]).unknown == 1
    assert describe(probing, cells)[-1].endswith(
        "Evaluation: 0 s, and 1 that could not be timed. Nothing was made."
    )


def test_steps_on_views_of_several_sizes_are_timed(probing: Lab) -> None:
    cells = probing.plan({"train.image_size": 32}, method="crops", backbone="tiny")
    (row,) = rows(probing, cells)

    assert [view.size for view in cells[0].views] == [None, None, 16, 16, 16]
    assert row[1] == "make"
    assert re.fullmatch(TAKES, row[2])


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
    assert describe(probing, cells)[-1].startswith(
        "Pretraining left: 0 s, and 1 that could not be timed. Features: "
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

    assert estimator(probing).pretraining(cell).unknown == 0
    assert seen == {(precision == "tf32",) * 2}

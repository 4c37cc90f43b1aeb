"""A dry run says what a run would do, and does nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from conftest import Lab

from bench.errors import MissingData
from bench.inspection import estimates
from bench.inspection.dry_run import describe_run
from bench.inspection.estimates import Estimator
from bench.inspection.evaluator_times import EvaluatorTimer
from bench.inspection.spans import Sample, Span, span_of_whole
from bench.planning.absent_data import AbsentData
from bench.planning.cells import Cell
from bench.planning.open_datasets import Datasets
from bench.registry.registry import Registry

TAKES = r"\d+ s( \(\d+ s to \d+ s\))?"
SPAN = r"(\d+ (h|min|s) ?)+( \(.* to .*\))?"


def estimator(lab: Lab) -> Estimator:
    return Estimator(lab.datasets, lab.registry, torch.device("cpu"))


def describe(lab: Lab, cells: Sequence[Cell], given_up: Sequence[Cell] = ()) -> list[str]:
    keys = {cell.keys.score for cell in given_up}
    device = torch.device("cpu")
    text = describe_run(cells, lab.datasets, lab.registry, lab.store, lab.artifacts, device, keys)
    return text.splitlines()


def rows(lab: Lab, cells: Sequence[Cell], given_up: Sequence[Cell] = ()) -> list[list[str]]:
    """Return the table's body, a cell being what stands between two spaces or more."""
    lines = describe(lab, cells, given_up)
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


def test_a_backbone_of_which_all_was_given_up_is_not_said_to_be_there(probing: Lab) -> None:
    cells = probing.plan(method="simclr", backbone="tiny", evaluator=("knn", "witness"))
    (part,) = rows(probing, cells, cells[:1])

    assert rows(probing, cells, cells) == [["simclr tiny digits seed 0", "given up", "given up 2"]]
    assert (part[1], part[3]) == ("make", "make 1, given up 1")


def test_what_was_given_up_and_cannot_work_is_counted_once(probing: Lab) -> None:
    cells = probing.plan({"train.image_size": (8, 16)}, backbone="tiny")
    small, large = rows(probing, cells, cells)

    assert small[1:3] == ["skip", "skip 1"]
    assert large[1:] == ["given up", "given up 1"]


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
    seen, real = [], EvaluatorTimer.on_features

    def slow(self: Any, cell: Cell, classes: tuple[str, ...], rows: int) -> Span:
        seen.append(rows)
        assert real(self, cell, classes, rows).unknown == 0
        return Span(rows / 100, rows / 100, rows / 100)

    monkeypatch.setattr(EvaluatorTimer, "on_features", slow)
    (cell,) = probing.plan({"dataset.max_train": None}, backbone="tiny")
    span = estimator(probing).evaluation(cell)

    assert seen == [256, 1024]
    assert span.likely == pytest.approx(14.38)
    assert span.low == pytest.approx(10.24 * (1438 / 1024) ** 0.5)
    assert span.high == pytest.approx(14.38)


@pytest.mark.parametrize("evaluator", ["finetune", "linear-sgd", "geometry"])
def test_an_evaluator_of_the_network_is_timed_on_a_few_images(
    probing: Lab, monkeypatch: pytest.MonkeyPatch, evaluator: str
) -> None:
    seen, real = [], EvaluatorTimer.on_images

    def watch(self: Any, cell: Cell, config: Any, sample: dict[str, int], each: float) -> Span:
        seen.append((getattr(config, "epochs", 1), sample["train"]))
        return real(self, cell, config, sample, each)

    monkeypatch.setattr(EvaluatorTimer, "on_images", watch)
    settings = {f"{evaluator}.epochs": 1000} if evaluator != "geometry" else {}
    (cell,) = probing.plan({"dataset.max_train": None, **settings}, backbone="tiny", evaluator=evaluator)
    span = estimator(probing).evaluation(cell)

    assert span.unknown == 0
    assert 0 < span.low <= span.likely <= span.high
    assert {epochs for epochs, _ in seen} == {1}
    assert len(seen) == 2
    assert all(rows <= 128 for _, rows in seen)


def test_what_is_trained_on_the_network_takes_time_by_epochs_and_labels(
    probing: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EvaluatorTimer, "on_images", lambda *_: Span(2.0, 2.0, 2.0))
    axes = {"backbone": "tiny", "evaluator": "finetune", "label_frac": (0.5, 1.0)}
    cells = probing.plan({"dataset.max_train": 480, "finetune.epochs": (1, 10)}, **axes)
    timed = estimator(probing)
    likely = [timed.evaluation(cell).likely for cell in cells]

    assert likely == pytest.approx([2 * 240 / 16, 2 * 480 / 16, 20 * 240 / 16, 20 * 480 / 16], rel=0.05)


def test_labels_a_class_are_counted_as_they_are(probing: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def watch(self: Any, cell: Cell, classes: tuple[str, ...], rows: int) -> Span:
        seen.append(rows)
        return Span(1.0, 1.0, 1.0)

    monkeypatch.setattr(EvaluatorTimer, "on_features", watch)
    (cell,) = probing.plan({"dataset.max_train": None}, backbone="tiny", shots=5, label_frac=())
    estimator(probing).evaluation(cell)

    assert seen == [50]


@pytest.mark.parametrize(
    ("few", "many", "expected"),
    [
        (Sample(Span(likely=1), 0.1), Sample(Span(likely=3), 0.4), Span(20 / 3, 7.5, 10)),
        (Sample(Span(likely=1), 0.1), Sample(Span(likely=0.9), 0.2), Span(4.5, 4.5, 10)),
        (Sample(Span(likely=1), 0.1), Sample(Span(likely=2), 0.1), Span(10, 20, 20)),
        (Sample(Span(unknown=1), 0.1), Sample(Span(likely=3), 0.4), Span(unknown=1)),
    ],
)
def test_the_span_of_the_whole_has_the_paces_of_its_parts(few: Sample, many: Sample, expected: Span) -> None:
    span = span_of_whole(few, many)

    assert [span.low, span.likely, span.high, span.unknown] == pytest.approx(
        [expected.low, expected.likely, expected.high, expected.unknown]
    )


@pytest.mark.parametrize(("patience", "made"), [(0.0, 2), (1e9, 3)])
def test_where_a_batch_takes_long_small_ones_stand_for_it(
    probing: Lab, probes: Any, monkeypatch: pytest.MonkeyPatch, patience: float, made: int
) -> None:
    monkeypatch.setattr(estimates, "PATIENCE_S", patience)
    (cell,) = probing.plan({"train.batch_size": 24}, method="probe", backbone="tiny")
    span = estimator(probing).pretraining(cell)

    assert len(probes.MADE) == made
    assert 0 < span.low <= span.likely <= span.high


def test_published_files_that_are_missing_are_assumed_and_nothing_is_downloaded(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a dry run downloads nothing")

    monkeypatch.setattr(torchvision.datasets.utils, "urlretrieve", refuse, raising=False)
    monkeypatch.setattr(torchvision.datasets.MNIST, "download", refuse)
    lab.datasets = Datasets(lab.registry, tmp_path, download=True, assume=True)
    small = {"dataset.max_train": None}
    cells = lab.plan(small, dataset=("mnist", "cifar10"))
    opened = {cell.dataset.name: lab.datasets.open(cell.dataset) for cell in cells}
    images = {name: len(data.labels(data.pretrain)) for name, data in opened.items()}

    assert images == {"mnist": 60_000, "cifar10": 50_000}
    assert opened["cifar10"].found == (
        "its files are not here, so 50,000 train and 10,000 test images of 10 classes are assumed, "
        "as published"
    )
    assert opened["mnist"].fingerprint() == lab.registry.load_class("datasets", "mnist").digest_of_files
    with pytest.raises(MissingData, match=r"^mnist: its files are not here\."):
        opened["mnist"].load("train")


@pytest.mark.parametrize(
    ("name", "counts", "unlabelled", "classes"),
    [
        ("cifar100", {"train": 50_000, "test": 10_000}, 0, 100),
        ("kmnist", {"train": 60_000, "test": 10_000}, 0, 10),
        ("stl10", {"train": 5_000, "test": 8_000}, 100_000, 10),
        ("gtsrb", {"train": 23_880, "val": 2_760, "test": 12_630}, 0, 43),
    ],
)
def test_what_is_published_adds_up(
    registry: Registry, name: str, counts: dict[str, int], unlabelled: int, classes: int
) -> None:
    cls = registry.load_class("datasets", name)
    published = cls.published(cls.Config())

    assert {split: sum(found) for split, found in published.counts.items()} == counts
    assert {len(found) for found in (published.classes, *published.counts.values())} == {classes}
    assert published.unlabelled == unlabelled
    data = AbsentData(name, cls.Config(), cls.about(cls.Config()), published)
    is_known = name in ("cifar100", "stl10")
    assert data.found.endswith("; what was made of them before cannot be looked up") is not is_known


def test_what_is_selected_of_missing_files_is_selected(lab: Lab, tmp_path: Path) -> None:
    lab.datasets = Datasets(lab.registry, tmp_path, assume=True)
    settings = {"dataset.max_train": 100, "dataset.classes": (("cat", "dog"),)}
    (cell,) = lab.plan(settings, dataset="cifar10")
    data = lab.datasets.open(cell.dataset)

    assert data.info.classes == ("cat", "dog")
    assert sorted(data.labels("train")) == [0] * 50 + [1] * 50
    assert len(data.labels("test")) == 2000


def test_missing_files_are_assumed_where_nothing_is_made_only(lab: Lab, tmp_path: Path) -> None:
    lab.datasets = Datasets(lab.registry, tmp_path)
    with pytest.raises(MissingData, match=r"^cifar10: .* Use --download"):
        lab.plan(dataset="cifar10")


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

"""STL-10 from small files in the official format, with torchvision's list of checksums set to theirs."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from archives import md5, stl10_pixels, write_stl10
from bench_plugins.datasets.stl10 import STL10, Config
from conftest import Lab

from bench.api import BadData, BadValue, DataLocation, UsageError
from bench.config import build
from bench.testing import check

SOURCE = torchvision.datasets.STL10


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return write_stl10(tmp_path / "stl" / "stl10_binary", monkeypatch)


def stl10(root: Path, **settings: Any) -> STL10:
    return STL10("stl10", Config(**settings), DataLocation(root=root))


def test_stl10_is_read_from_the_official_files(root: Path) -> None:
    data = stl10(root)
    train, test = data.load("train"), data.load("test")

    assert train.pixels.equal(torch.from_numpy(stl10_pixels("train")))
    assert test.pixels.equal(torch.from_numpy(stl10_pixels("test")))
    assert train.labels.tolist() == data.labels("train") == list(range(10)) * 4
    assert data.info.classes == tuple(SOURCE(root, "test").classes)
    assert (data.info.size, data.info.channels, data.info.flip, data.info.colour) == (96, 3, True, True)


@pytest.mark.parametrize("split", ["train", "test", "train+unlabeled"])
@pytest.mark.parametrize("fold", [None, 3])
def test_every_split_is_what_torchvision_reads(root: Path, split: str, fold: int | None) -> None:
    ours, theirs = stl10(root, fold=fold).load(split), SOURCE(root, split, folds=fold)

    assert ours.pixels.equal(torch.from_numpy(np.ascontiguousarray(theirs.data)))
    assert ours.labels.tolist() == theirs.labels.tolist()


@pytest.mark.parametrize("unlabeled", [True, False])
def test_stl10_keeps_the_contract(root: Path, *, unlabeled: bool) -> None:
    outcomes = check(
        "datasets", STL10, "stl10", config=Config(unlabeled=unlabeled), location=DataLocation(root=root)
    )

    has_the_published_checksums = {"another process finds the same images"}
    assert {title for title, error in outcomes if error is not None} == has_the_published_checksums


def test_pretraining_has_the_unlabelled_images_and_evaluation_has_not(root: Path) -> None:
    data, without = stl10(root), stl10(root, unlabeled=False)

    assert (data.pretrain, without.pretrain) == ("train+unlabeled", "train")
    assert data.splits == ("train", "test")
    assert data.labels(data.pretrain) == data.labels("train") + [-1] * 30
    assert "the 30 unlabelled images" in data.info.notes[0]
    assert without.info.notes == ()


def test_a_selection_is_of_the_labelled_images(root: Path) -> None:
    data = stl10(root, classes=("ship", "cat"), max_train=4, fold=2)
    pretrain = data.load(data.pretrain)

    assert sorted(data.labels("train")) == [0, 0, 1, 1]
    assert data.load("train").pixels.equal(pretrain.pixels[:4])
    assert pretrain.labels.tolist() == data.labels("train") + [-1] * 30
    with pytest.raises(UsageError, match="stl10: no class is named 'shp'"):
        stl10(root, classes=("shp", "cat"))


@pytest.mark.parametrize("fold", [-1, 10])
def test_there_are_ten_folds(fold: int) -> None:
    with pytest.raises(BadValue, match=r"stl10\.fold: .* out of range"):
        build(Config, {"fold": fold}, "stl10")


def test_the_fold_is_in_the_fingerprint(root: Path) -> None:
    before, every = stl10(root, fold=0).fingerprint(), stl10(root).fingerprint()
    folds = root / "stl10_binary" / "fold_indices.txt"
    folds.write_text("\n".join(reversed(folds.read_text().splitlines())))

    assert stl10(root, fold=0).fingerprint() != before
    assert stl10(root).fingerprint() == every


def test_missing_files_are_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"stl10_binary is not there .* Use --download.*dataset\.root"):
        STL10("stl10", Config(), DataLocation(data_dir=tmp_path))


@pytest.mark.parametrize("name", ["train_X", "train_y", "unlabeled_X", "test_X", "test_y"])
def test_a_file_of_another_checksum_is_named(root: Path, name: str) -> None:
    path = root / "stl10_binary" / f"{name}.bin"
    path.write_bytes(path.read_bytes()[:-1])

    with pytest.raises(BadData, match=rf"^stl10: .*{name}\.bin is damaged: its MD5 is not .*--download\.$"):
        stl10(root)


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        (bytes([11] * 40), "a label is 11; use 1 to 10"),
        (bytes([0] * 40), "a label is 0; use 1 to 10"),
        (bytes([1] * 39), "there are 40 images and 39 labels, they are not of one archive"),
    ],
)
def test_labels_that_do_not_fit_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, labels: bytes, why: str
) -> None:
    with pytest.raises(BadData, match=rf"train_y\.bin is damaged: {why}"):
        stl10(write_stl10(tmp_path / "stl10_binary", monkeypatch, train_y=labels))


@pytest.mark.parametrize("part", ["train", "test", "unlabeled"])
@pytest.mark.parametrize("length", [0, 1, 40 * 3 * 96 * 96 - 1])
def test_a_file_whose_length_is_not_that_of_images_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str, length: int
) -> None:
    changed = {f"{part}_X": bytes(length)}

    with pytest.raises(BadData, match=rf"^stl10: .*{part}_X\.bin is damaged: its length is not .*\.$"):
        stl10(write_stl10(tmp_path / "stl10_binary", monkeypatch, **changed))


def test_the_files_of_train_and_test_swapped_are_refused(root: Path) -> None:
    folder = root / "stl10_binary"
    for what in ("X", "y"):
        train, test = folder / f"train_{what}.bin", folder / f"test_{what}.bin"
        content = train.read_bytes()
        train.write_bytes(test.read_bytes())
        test.write_bytes(content)

    with pytest.raises(BadData, match=r"^stl10: .*train_X\.bin is damaged: its MD5 is not the published one"):
        stl10(root)


@pytest.mark.parametrize("folds", ["", "0 1\n2 x\n", "0 1\n2 40\n", "0 1\n2 2\n"])
def test_folds_that_do_not_fit_are_refused(root: Path, folds: str) -> None:
    (root / "stl10_binary" / "fold_indices.txt").write_text(folds)

    with pytest.raises(BadData, match=r"fold_indices\.txt is damaged: "):
        stl10(root, fold=1)


def test_a_download_unpacks_the_archive_and_prints_nothing_on_stdout(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = tmp_path / "new" / SOURCE.filename  # what is there already is not fetched again
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        tar.add(root / "stl10_binary", "stl10_binary")
    monkeypatch.setattr(SOURCE, "tgz_md5", md5(archive.read_bytes()))
    data = STL10("stl10", Config(), DataLocation(data_dir=archive.parent, download=True))

    assert len(data.labels("train")) == 40
    assert not capsys.readouterr().out


def test_a_failed_download_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SOURCE, "url", (tmp_path / "none.tar.gz").as_uri())

    with pytest.raises(BadData, match=r"the download to .* failed \(.*\)\. Try again") as caught:
        STL10("stl10", Config(), DataLocation(data_dir=tmp_path / "data", download=True))
    assert "\n" not in str(caught.value)


# ---- in a run


SMALL = {"dataset.max_train": 20, "train.epochs": 1, "train.batch_size": 20}


def test_a_run_pretrains_on_all_images_and_evaluates_on_labelled_ones(
    root: Path, probing: Lab, probes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []
    load = STL10.load
    monkeypatch.setattr(STL10, "load", lambda self, split: loaded.append(split) or load(self, split))
    asked = {"method": "probe", "dataset": "stl10", "evaluator": "witness"}
    cells = probing.plan({**SMALL, "dataset.root": str(root)}, **asked)
    (record,) = probing.run(cells)
    (task,) = probes.SEEN

    assert record["status"] == "ok"
    assert sorted(loaded) == ["test", "train", "train+unlabeled"]
    assert (len(task.train), len(task.test)) == (20, 20)
    assert min(task.train.y.min(), task.test.y.min()) == 0
    assert record["notes"] == ["pretraining uses the 30 unlabelled images, too"]


def test_a_batch_may_be_larger_than_the_labelled_images(root: Path, lab: Lab) -> None:
    asked = {"method": "simclr", "dataset": "stl10"}
    settings = {**SMALL, "dataset.root": str(root), "train.batch_size": 25}

    assert lab.plan(settings, **asked)
    with pytest.raises(BadValue, match="a step takes 25 images, but stl10 has 20 to train on"):
        lab.plan({**settings, "dataset.unlabeled": False}, **asked)


def test_a_method_that_uses_labels_is_trained_on_the_labelled_images(root: Path, lab: Lab) -> None:
    (cell,) = lab.plan({**SMALL, "dataset.root": str(root)}, method="supervised", dataset="stl10")
    labels = lab.datasets.open(cell.dataset).labels(cell.split)

    assert (len(labels), min(labels)) == (20, 0)


def test_mean_and_deviation_are_those_of_the_training_images_however_many_are_used() -> None:
    for config in (Config(), Config(fold=3, unlabeled=False)):
        about = STL10.about(config)

        assert (about.mean, about.std) == ((0.4467, 0.4398, 0.4066), (0.2603, 0.2566, 0.2713))


def test_a_file_that_changes_after_it_was_checked_is_not_used(root: Path) -> None:
    data = stl10(root)
    before = data.load("test")
    path = root / "stl10_binary" / "test_X.bin"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    assert len(before) == 20
    with pytest.raises(BadData, match=r"^stl10: .*test_X\.bin cannot be used: it changed on the disk"):
        data.load("test")
    with pytest.raises(BadData, match="its MD5 is not the published one"):
        stl10(root)

"""MNIST and KMNIST from small files in the official IDX format, packed and unpacked."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from archives import idx, md5, mnist_files, noise, write_mnist
from bench_plugins.datasets.mnist import KMNIST, MNIST, MNIST_SHA256

from bench.api import BadData, DataLocation, Selection, UsageError
from bench.testing import check


def mnist(root: Path, **settings: Any) -> MNIST:
    return MNIST("mnist", Selection(**settings), DataLocation(root=root))


def test_mnist_is_read_from_the_official_files(tmp_path: Path) -> None:
    data = mnist(write_mnist(tmp_path))
    train, test = data.load("train"), data.load("test")

    assert (len(train), len(test)) == (40, 20)
    assert train.pixels[:, 0].equal(torch.from_numpy(noise(0, 40, 28, 28)))
    assert test.pixels[:, 0].equal(torch.from_numpy(noise(1, 20, 28, 28)))
    assert train.labels.tolist() == data.labels("train") == list(range(10)) * 4
    assert data.info.classes == tuple("0123456789")
    assert (data.info.mean, data.info.std) == ((0.1307,), (0.3081,))


@pytest.mark.parametrize(("cls", "name"), [(MNIST, "MNIST"), (KMNIST, "KMNIST")])
def test_both_keep_the_contract(tmp_path: Path, cls: type[MNIST], name: str) -> None:
    location = DataLocation(data_dir=write_mnist(tmp_path, name))
    outcomes = check("datasets", cls, name.lower(), location=location)

    noise_instead = {"mean and std are those of its images, about"}
    assert {title for title, error in outcomes if error is not None} == noise_instead


def test_kmnist_has_its_own_classes_folder_and_statistics(tmp_path: Path) -> None:
    data = KMNIST("kmnist", Selection(), DataLocation(root=write_mnist(tmp_path, "KMNIST")))

    assert data.info.classes == ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
    assert (data.info.mean, data.info.std) == ((0.1918,), (0.3483,))
    with pytest.raises(BadData, match=r"mnist: .*raw is not there"):
        mnist(tmp_path)


def test_characters_are_neither_mirrored_nor_coloured(tmp_path: Path) -> None:
    info = mnist(write_mnist(tmp_path)).info

    assert (info.flip, info.colour, info.channels, info.size) == (False, False, 1, 28)


@pytest.mark.parametrize("inner", ["MNIST", "MNIST/raw"])
def test_the_folder_of_the_files_serves_as_root_too(tmp_path: Path, inner: str) -> None:
    assert mnist(write_mnist(tmp_path) / inner).labels("test") == list(range(10)) * 2


def test_classes_and_max_train_select_images(tmp_path: Path) -> None:
    data = mnist(write_mnist(tmp_path), classes=("7", "2"), max_train=4)

    assert sorted(data.load("train").labels.tolist()) == [0, 0, 1, 1]
    assert data.labels("test") == [1, 0, 1, 0]
    with pytest.raises(UsageError, match="mnist: no class is named 'seven'"):
        mnist(tmp_path, classes=("seven", "2"))


def test_missing_files_are_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"raw is not there or not complete\. Use --download.*dataset\.root"):
        MNIST("mnist", Selection(), DataLocation(data_dir=tmp_path))


@pytest.mark.parametrize(
    ("file", "content", "why"),
    [
        ("labels-idx1", b"", "no IDX file of labels"),
        ("labels-idx1", b"<html>not found</html>", "no IDX file of labels"),
        ("labels-idx1", idx(np.zeros((20, 2), dtype=np.uint8)), "no IDX file of labels"),
        ("labels-idx1", idx(np.full(20, 10, dtype=np.uint8)), "a label is 10, of 10 classes"),
        ("labels-idx1", idx(np.zeros(19, dtype=np.uint8)), "20 images and 19 labels, .* not of one archive"),
        ("images-idx3", b"", "no IDX file of 28x28 images"),
        ("images-idx3", idx(np.zeros((20, 32, 32), dtype=np.uint8)), "no IDX file of 28x28 images"),
        ("images-idx3", idx(noise(1, 20, 28, 28))[:-1], "its length is not that of the 20 images"),
    ],
)
@pytest.mark.parametrize("prefix", ["t10k", "train"])
def test_a_damaged_file_is_named(tmp_path: Path, prefix: str, file: str, content: bytes, why: str) -> None:
    path = write_mnist(tmp_path) / "MNIST" / "raw" / f"{prefix}-{file}-ubyte"
    path.write_bytes(content)
    if prefix == "train":
        why = why.replace("20 images and", "40 images and")

    with pytest.raises(BadData, match=rf"^mnist: .*{path.name} is damaged: .*{why}.*--download\.$"):
        mnist(tmp_path).labels("train")


def test_files_of_train_and_test_that_are_mixed_up_are_refused(tmp_path: Path) -> None:
    raw = write_mnist(tmp_path) / "MNIST" / "raw"
    train, test = raw / "train-labels-idx1-ubyte", raw / "t10k-labels-idx1-ubyte"
    content = train.read_bytes()
    train.write_bytes(test.read_bytes())
    test.write_bytes(content)

    with pytest.raises(BadData, match="there are 40 images and 20 labels, they are not of one archive"):
        mnist(tmp_path)


def test_files_as_long_as_the_published_ones_have_to_be_these(tmp_path: Path) -> None:
    raw = write_mnist(tmp_path) / "MNIST" / "raw"
    (raw / "t10k-images-idx3-ubyte").write_bytes(idx(np.zeros((10_000, 28, 28), dtype=np.uint8)))
    (raw / "t10k-labels-idx1-ubyte").write_bytes(idx((np.arange(10_000) % 10).astype(np.uint8)))

    with pytest.raises(
        BadData, match=r"^mnist: .*t10k-images-\S+ is damaged: its SHA-256 is not .*--download\.$"
    ):
        mnist(tmp_path)


def test_a_file_of_mnist_is_no_kmnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_mnist(tmp_path, "KMNIST")
    name = "t10k-labels-idx1-ubyte"
    monkeypatch.setitem(MNIST_SHA256, name, hashlib.sha256(mnist_files()[name]).hexdigest())

    with pytest.raises(BadData, match=rf"^kmnist: .*{name} is damaged: it is a file of MNIST\. Delete"):
        KMNIST("kmnist", Selection(), DataLocation(root=root))


def test_a_subset_is_used_and_noted(tmp_path: Path) -> None:
    (note,) = mnist(write_mnist(tmp_path)).info.notes

    assert note == (
        "the files have 40 training and 20 test images; "
        "those of MNIST as published have 60,000 training and 10,000 test images"
    )


@pytest.mark.parametrize(
    ("suffix", "why"), [(".gz", r"gz is damaged: its MD5"), ("", r"ubyte is damaged: it is not what \S+gz")]
)
def test_a_file_and_its_archive_have_to_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, why: str
) -> None:
    raw = packed(write_mnist(tmp_path) / "packed", monkeypatch)
    for path in raw.iterdir():
        path.rename(tmp_path / "MNIST" / "raw" / path.name)
    assert mnist(tmp_path)
    path = tmp_path / "MNIST" / "raw" / f"train-images-idx3-ubyte{suffix}"
    path.write_bytes(gzip.compress(b"other") if suffix else idx(noise(7, 40, 28, 28)))

    with pytest.raises(BadData, match=why):
        mnist(tmp_path)


def packed(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of archives as downloaded, which are not fetched again if the checksum is theirs."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    resources = []
    for name, content in mnist_files().items():
        archive = gzip.compress(content, mtime=0)
        (raw / f"{name}.gz").write_bytes(archive)
        resources.append((f"{name}.gz", md5(archive)))
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [(root / "none").as_uri() + "/"])
    monkeypatch.setattr(torchvision.datasets.MNIST, "resources", resources)
    return raw


def test_a_download_unpacks_the_archives_and_prints_nothing_on_stdout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    packed(tmp_path, monkeypatch)
    data = MNIST("mnist", Selection(), DataLocation(data_dir=tmp_path, download=True))

    assert len(data.labels("train")) == 40
    assert not capsys.readouterr().out


def test_an_archive_of_another_checksum_is_not_used_and_a_failed_download_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = packed(tmp_path, monkeypatch)
    (raw / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(b"other"))

    with pytest.raises(BadData, match=r"the download to .* failed \(.*train-labels.*\)\. Try") as caught:
        MNIST("mnist", Selection(), DataLocation(data_dir=tmp_path, download=True))
    assert "\n" not in str(caught.value)


def test_the_fingerprint_is_of_the_content_and_not_of_the_place(tmp_path: Path) -> None:
    one, other = mnist(write_mnist(tmp_path / "one")), mnist(write_mnist(tmp_path / "other"))
    file = tmp_path / "other" / "MNIST" / "raw" / "train-images-idx3-ubyte"
    before = other.fingerprint()
    file.write_bytes(idx(noise(9, 40, 28, 28)))

    assert before == one.fingerprint()
    assert mnist(tmp_path / "other").fingerprint() != before


@pytest.mark.parametrize("cls", [MNIST, KMNIST])
def test_a_file_that_changes_after_it_was_checked_is_not_used(tmp_path: Path, cls: type[MNIST]) -> None:
    name = cls.__name__
    data = cls(name.lower(), Selection(), DataLocation(root=write_mnist(tmp_path, name)))
    before = data.load("test")
    path = tmp_path / name / "raw" / "t10k-images-idx3-ubyte"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    assert len(before) == 20
    with pytest.raises(
        BadData, match=rf"^{name.lower()}: .*t10k-images.* cannot be used: it changed on the disk"
    ):
        data.load("test")

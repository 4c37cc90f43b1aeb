"""MNIST and KMNIST from small files in the official IDX format, packed and unpacked."""

from __future__ import annotations

import gzip
import hashlib
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from bench_plugins.datasets.mnist import KMNIST, MNIST

from bench.api import BadData, Place, Selection, UsageError
from bench.testing import check_dataset

COUNTS = {"train": 40, "t10k": 20}


def pixels(seed: int, count: int) -> Any:
    return np.random.Generator(np.random.PCG64(seed)).integers(0, 256, (count, 28, 28), dtype=np.uint8)


def idx(values: Any) -> bytes:
    """Return an array of bytes as an IDX file: two zeros, the type, the dimensions and their lengths."""
    return struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.tobytes()


def official() -> dict[str, bytes]:
    files = {}
    for seed, (prefix, count) in enumerate(COUNTS.items()):
        files[f"{prefix}-images-idx3-ubyte"] = idx(pixels(seed, count))
        files[f"{prefix}-labels-idx1-ubyte"] = idx((np.arange(count) % 10).astype(np.uint8))
    return files


def write(root: Path, name: str = "MNIST") -> Path:
    raw = root / name / "raw"
    raw.mkdir(parents=True)
    for file, content in official().items():
        (raw / file).write_bytes(content)
    return root


def mnist(root: Path, **settings: Any) -> MNIST:
    return MNIST("mnist", Selection(**settings), Place(root=root))


def test_mnist_is_read_from_the_official_files(tmp_path: Path) -> None:
    data = mnist(write(tmp_path))
    train, test = data.load("train"), data.load("test")

    assert (len(train), len(test)) == (40, 20)
    assert train.pixels[:, 0].equal(torch.from_numpy(pixels(0, 40)))
    assert test.pixels[:, 0].equal(torch.from_numpy(pixels(1, 20)))
    assert train.labels.tolist() == data.labels("train") == list(range(10)) * 4
    assert data.info.classes == tuple("0123456789")
    assert (data.info.mean, data.info.std) == ((0.1307,), (0.3081,))


@pytest.mark.parametrize(("cls", "name"), [(MNIST, "MNIST"), (KMNIST, "KMNIST")])
def test_both_keep_the_contract(tmp_path: Path, cls: type[MNIST], name: str) -> None:
    check_dataset(cls, name.lower(), place=Place(data_dir=write(tmp_path, name)))


def test_kmnist_has_its_own_classes_folder_and_statistics(tmp_path: Path) -> None:
    data = KMNIST("kmnist", Selection(), Place(root=write(tmp_path, "KMNIST")))

    assert data.info.classes == ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
    assert (data.info.mean, data.info.std) == ((0.1918,), (0.3483,))
    with pytest.raises(BadData, match=r"mnist: .*raw is not there"):
        mnist(tmp_path)


def test_characters_are_neither_mirrored_nor_coloured(tmp_path: Path) -> None:
    info = mnist(write(tmp_path)).info

    assert (info.flip, info.colour, info.channels, info.size) == (False, False, 1, 28)


@pytest.mark.parametrize("inner", ["MNIST", "MNIST/raw"])
def test_the_folder_of_the_files_serves_as_root_too(tmp_path: Path, inner: str) -> None:
    assert mnist(write(tmp_path) / inner).labels("test") == list(range(10)) * 2


def test_classes_and_max_train_select_images(tmp_path: Path) -> None:
    data = mnist(write(tmp_path), classes=("7", "2"), max_train=4)

    assert sorted(data.load("train").labels.tolist()) == [0, 0, 1, 1]
    assert data.labels("test") == [1, 0, 1, 0]
    with pytest.raises(UsageError, match="mnist: no class is named 'seven'"):
        mnist(tmp_path, classes=("seven", "2"))


def test_missing_files_are_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"raw is not there or not complete\. Use --download.*dataset\.root"):
        MNIST("mnist", Selection(), Place(data_dir=tmp_path))


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
        ("images-idx3", idx(pixels(1, 20))[:-1], "its length is not that of the 20 images"),
    ],
)
@pytest.mark.parametrize("prefix", ["t10k", "train"])
def test_a_damaged_file_is_named(tmp_path: Path, prefix: str, file: str, content: bytes, why: str) -> None:
    path = write(tmp_path) / "MNIST" / "raw" / f"{prefix}-{file}-ubyte"
    path.write_bytes(content)
    if prefix == "train":
        why = why.replace("20 images and", "40 images and")

    with pytest.raises(BadData, match=rf"^mnist: .*{path.name} is damaged: .*{why}.*--download\.$"):
        mnist(tmp_path).labels("train")


def packed(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of archives as downloaded, which are not fetched again if the checksum is theirs."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    resources = []
    for name, content in official().items():
        archive = gzip.compress(content, mtime=0)
        (raw / f"{name}.gz").write_bytes(archive)
        resources.append((f"{name}.gz", hashlib.md5(archive, usedforsecurity=False).hexdigest()))
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [(root / "none").as_uri() + "/"])
    monkeypatch.setattr(torchvision.datasets.MNIST, "resources", resources)
    return raw


def test_a_download_unpacks_the_archives_and_prints_nothing_on_stdout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    packed(tmp_path, monkeypatch)
    data = MNIST("mnist", Selection(), Place(data_dir=tmp_path, download=True))

    assert len(data.labels("train")) == 40
    assert not capsys.readouterr().out


def test_an_archive_of_another_checksum_is_not_used_and_a_failed_download_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = packed(tmp_path, monkeypatch)
    (raw / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(b"other"))

    with pytest.raises(BadData, match=r"the download to .* failed \(.*train-labels.*\)\. Try") as caught:
        MNIST("mnist", Selection(), Place(data_dir=tmp_path, download=True))
    assert "\n" not in str(caught.value)


def test_the_fingerprint_is_of_the_content_and_not_of_the_place(tmp_path: Path) -> None:
    one, other = mnist(write(tmp_path / "one")), mnist(write(tmp_path / "other"))
    file = tmp_path / "other" / "MNIST" / "raw" / "train-images-idx3-ubyte"
    before = other.fingerprint()
    file.write_bytes(idx(pixels(9, 40)))

    assert before == one.fingerprint()
    assert mnist(tmp_path / "other").fingerprint() != before

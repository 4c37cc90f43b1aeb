"""CIFAR from small archives in the official format, with torchvision's list of checksums set to theirs."""

from __future__ import annotations

import hashlib
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from bench_plugins.datasets.cifar import CIFAR10, CIFAR100

from bench.api import BadData, Place, Selection, UsageError

TEN = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
HUNDRED = [f"thing_{i}" for i in range(100)]


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def official(value: Any) -> bytes:
    """Return a pickle as the numpy of 2009 wrote it: flags of a dtype are integers."""
    return pickle.dumps(value, protocol=2).replace(b"\x89\x88\x87", b"K\x00K\x01\x87")


def batch(seed: int, count: int, label: str, classes: int) -> dict[str, Any]:
    pixels = np.random.Generator(np.random.PCG64(seed)).integers(0, 256, (count, 3_072), dtype=np.uint8)
    return {"data": pixels, label: [i % classes for i in range(count)], "filenames": ["x.png"] * count}


def write(monkeypatch: pytest.MonkeyPatch, folder: Path, source: Any, files: dict[str, Any]) -> None:
    folder.mkdir(parents=True)
    for name, value in files.items():
        (folder / name).write_bytes(official(value))
    sums = {name: md5(folder / name) for name in files}
    meta = source.meta["filename"]
    monkeypatch.setattr(
        source, "train_list", [[n, s] for n, s in sums.items() if n not in ("test_batch", "test", meta)]
    )
    monkeypatch.setattr(source, "test_list", [[n, s] for n, s in sums.items() if n in ("test_batch", "test")])
    monkeypatch.setattr(source, "meta", {**source.meta, "md5": sums[meta]})


@pytest.fixture
def ten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that holds a CIFAR-10 of 100 training and 20 test images."""
    files = {f"data_batch_{i}": batch(i, 20, "labels", 10) for i in range(1, 6)}
    files |= {"test_batch": batch(6, 20, "labels", 10), "batches.meta": {"label_names": TEN}}
    write(monkeypatch, tmp_path / "cifar-10-batches-py", torchvision.datasets.CIFAR10, files)
    return tmp_path


def cifar10(root: Path, **settings: Any) -> CIFAR10:
    return CIFAR10("cifar10", Selection(**settings), Place(root=root))


def test_cifar10_is_read_from_the_official_files(ten: Path) -> None:
    data = cifar10(ten)
    train, test = data.load("train"), data.load("test")
    first = torch.from_numpy(batch(1, 20, "labels", 10)["data"][0].reshape(3, 32, 32))

    assert (len(train), len(test)) == (100, 20)
    assert train.pixels[0].equal(first)
    assert train.labels.tolist() == data.labels("train") == list(range(10)) * 10
    assert data.info.classes == tuple(TEN)
    assert data.info.mean == (0.4914, 0.4822, 0.4465)


def test_cifar100_has_its_fine_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "train": batch(1, 200, "fine_labels", 100),
        "test": batch(2, 100, "fine_labels", 100),
        "meta": {"fine_label_names": HUNDRED, "coarse_label_names": TEN},
    }
    write(monkeypatch, tmp_path / "cifar-100-python", torchvision.datasets.CIFAR100, files)
    data = CIFAR100("cifar100", Selection(), Place(data_dir=tmp_path))

    assert data.info.classes == tuple(HUNDRED)
    assert data.load("train").labels.tolist() == list(range(100)) * 2
    assert data.info.std == (0.2673, 0.2564, 0.2762)


def test_the_folder_of_the_files_serves_as_root_too(ten: Path) -> None:
    inner = cifar10(ten / "cifar-10-batches-py")

    assert inner.labels("test") == cifar10(ten).labels("test")


def test_classes_and_max_train_select_images(ten: Path) -> None:
    data = cifar10(ten, classes=("ship", "cat"), max_train=6)
    train = data.load("train")

    assert data.info.classes == ("ship", "cat")
    assert sorted(train.labels.tolist()) == [0, 0, 0, 1, 1, 1]
    assert data.labels("train") == train.labels.tolist()
    assert data.labels("test") == [1, 0, 1, 0]


def test_missing_files_are_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"cifar-10-batches-py is not there.*--download.*dataset\.root"):
        CIFAR10("cifar10", Selection(), Place(data_dir=tmp_path))


@pytest.mark.parametrize("name", ["data_batch_3", "test_batch", "batches.meta"])
def test_a_damaged_file_is_named(ten: Path, name: str) -> None:
    path = ten / "cifar-10-batches-py" / name
    path.write_bytes(path.read_bytes()[:-1])

    with pytest.raises(BadData, match=rf"cifar10: .*{name} is damaged, its MD5 is not the published one"):
        cifar10(ten)


def test_the_published_checksums_refuse_any_other_archive(ten: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()

    with pytest.raises(BadData, match="data_batch_1 is damaged"):
        cifar10(ten)


def test_a_download_unpacks_the_archive_and_prints_nothing_on_stdout(
    ten: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = tmp_path_factory.mktemp("downloads")
    archive = place / "cifar-10-python.tar.gz"  # what is there already is not fetched again
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(ten / "cifar-10-batches-py", "cifar-10-batches-py")
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "tgz_md5", md5(archive))
    data = CIFAR10("cifar10", Selection(), Place(data_dir=place, download=True))

    assert len(data.labels("train")) == 100
    assert not capsys.readouterr().out


def test_a_failed_download_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "url", (tmp_path / "none.tar.gz").as_uri())

    with pytest.raises(BadData, match=r"the download to .* failed \(.*\)\. Try again") as caught:
        CIFAR10("cifar10", Selection(), Place(data_dir=tmp_path / "data", download=True))
    assert "\n" not in str(caught.value)


def test_the_fingerprint_is_of_the_content_and_not_of_the_place(
    ten: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = cifar10(ten).fingerprint()
    moved = ten.parent / f"{ten.name}-moved"
    ten.rename(moved)
    after = cifar10(moved).fingerprint()
    write(
        monkeypatch,
        ten / "cifar-10-batches-py",
        torchvision.datasets.CIFAR10,
        {
            "data_batch_1": batch(9, 20, "labels", 10),
            "test_batch": batch(6, 20, "labels", 10),
            "batches.meta": {"label_names": TEN},
        },
    )

    assert before == after
    assert cifar10(ten).fingerprint() != before


def test_an_unknown_class_gets_a_suggestion(ten: Path) -> None:
    with pytest.raises(UsageError, match=r"cifar10: no class is named 'shp'\. Did you mean 'ship'"):
        cifar10(ten, classes=("shp", "cat"))

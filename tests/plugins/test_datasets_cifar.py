"""CIFAR from small archives in the official format, with torchvision's list of checksums set to theirs."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from archives import HUNDRED, TEN, cifar_batch, cifar_file, md5, write_cifar, write_cifar10, write_cifar100
from bench_plugins.datasets.cifar import CIFAR10, CIFAR100

from bench.api import BadData, DataLocation, Selection, UsageError


@pytest.fixture
def ten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that holds a CIFAR-10 of 100 training and 20 test images."""
    write_cifar10(monkeypatch, tmp_path)
    return tmp_path


def cifar10(root: Path, **settings: Any) -> CIFAR10:
    return CIFAR10("cifar10", Selection(**settings), DataLocation(root=root))


def test_cifar10_is_read_from_the_official_files(ten: Path) -> None:
    data = cifar10(ten)
    train, test = data.load("train"), data.load("test")
    first = torch.from_numpy(cifar_batch(1, 20, "labels", 10)["data"][0].reshape(3, 32, 32))

    assert (len(train), len(test)) == (100, 20)
    assert train.pixels[0].equal(first)
    assert train.labels.tolist() == data.labels("train") == list(range(10)) * 10
    assert data.info.classes == TEN
    assert data.info.mean == (0.4914, 0.4822, 0.4465)
    assert data.info.std == (0.2470, 0.2435, 0.2616)


def test_cifar100_has_its_fine_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar100(monkeypatch, tmp_path)
    data = CIFAR100("cifar100", Selection(), DataLocation(data_dir=tmp_path))

    assert data.info.classes == HUNDRED
    assert data.load("train").labels.tolist() == list(range(100)) * 2
    assert data.info.mean == (0.5071, 0.4865, 0.4409)
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
        CIFAR10("cifar10", Selection(), DataLocation(data_dir=tmp_path))


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


def test_the_files_of_the_other_cifar_are_refused(
    ten: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("mixed")
    (folder / "cifar-10-batches-py").mkdir()
    for name in ("train", "test", "meta"):  # by the names of CIFAR-100
        content = cifar_file(cifar_batch(1, 20, "fine_labels", 100))
        (folder / "cifar-10-batches-py" / name).write_bytes(content)
    with pytest.raises(BadData, match=r"^cifar10: .*cifar-10-batches-py is not there or not complete\. Use"):
        cifar10(folder)
    (ten / "cifar-10-batches-py" / "data_batch_1").write_bytes(
        cifar_file(cifar_batch(1, 20, "fine_labels", 100))
    )

    with pytest.raises(
        BadData, match=r"^cifar10: .*data_batch_1 is damaged, its MD5 is not the published one"
    ):
        cifar10(ten)


@pytest.mark.parametrize("label", [-1, 10])
def test_a_label_of_no_class_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, label: int) -> None:
    wrong = {**cifar_batch(6, 20, "labels", 10), "labels": [label] * 20}
    files = {
        "data_batch_1": cifar_batch(1, 20, "labels", 10),
        "test_batch": wrong,
        "batches.meta": {"label_names": list(TEN)},
    }
    write_cifar(monkeypatch, tmp_path / "cifar-10-batches-py", torchvision.datasets.CIFAR10, files)

    with pytest.raises(BadData, match=f"^cifar10: a test label is {label}, but there are 10 classes"):
        cifar10(tmp_path).labels("test")


def test_a_download_unpacks_the_archive_and_prints_nothing_on_stdout(
    ten: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path_factory.mktemp("downloads")
    archive = folder / "cifar-10-python.tar.gz"  # what is there already is not fetched again
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(ten / "cifar-10-batches-py", "cifar-10-batches-py")
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "tgz_md5", md5(archive.read_bytes()))
    data = CIFAR10("cifar10", Selection(), DataLocation(data_dir=folder, download=True))

    assert len(data.labels("train")) == 100
    assert not capsys.readouterr().out


def test_a_failed_download_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "url", (tmp_path / "none.tar.gz").as_uri())

    with pytest.raises(BadData, match=r"the download to .* failed \(.*\)\. Try again") as caught:
        CIFAR10("cifar10", Selection(), DataLocation(data_dir=tmp_path / "data", download=True))
    assert "\n" not in str(caught.value)


def test_the_fingerprint_is_of_the_content_and_not_of_the_place(
    ten: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = cifar10(ten).fingerprint()
    moved = ten.parent / f"{ten.name}-moved"
    ten.rename(moved)
    after = cifar10(moved).fingerprint()
    write_cifar(
        monkeypatch,
        ten / "cifar-10-batches-py",
        torchvision.datasets.CIFAR10,
        {
            "data_batch_1": cifar_batch(9, 20, "labels", 10),
            "test_batch": cifar_batch(6, 20, "labels", 10),
            "batches.meta": {"label_names": list(TEN)},
        },
    )

    assert before == after
    assert cifar10(ten).fingerprint() != before


def test_an_unknown_class_gets_a_suggestion(ten: Path) -> None:
    with pytest.raises(UsageError, match=r"cifar10: no class is named 'shp'\. Did you mean 'ship'"):
        cifar10(ten, classes=("shp", "cat"))

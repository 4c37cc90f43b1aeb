"""An archive that names places outside its folder writes nothing there, whichever data set unpacks it."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torchvision.datasets.gtsrb
from archives import md5
from bench_plugins.datasets.cifar import CIFAR10, CIFAR100
from bench_plugins.datasets.gtsrb import GTSRB
from bench_plugins.datasets.stl10 import SOURCE, STL10

from bench.api import BadData, DataLocation, Selection

TARS = {"cifar10": CIFAR10, "cifar100": CIFAR100, "stl10": STL10}
Member = Callable[[tarfile.TarFile, Path], None]


def add_file(archive: tarfile.TarFile, name: str) -> None:
    member = tarfile.TarInfo(name)
    member.size = 4
    archive.addfile(member, io.BytesIO(b"evil"))


def add_link(archive: tarfile.TarFile, target: Path, kind: bytes) -> None:
    member = tarfile.TarInfo("link")
    member.type, member.linkname = kind, str(target)
    archive.addfile(member)
    add_file(archive, "link" if kind == tarfile.LNKTYPE else "link/file")


MEMBERS: dict[str, Member] = {
    "above": lambda archive, _: add_file(archive, "../outside/file"),
    "absolute": lambda archive, outside: add_file(archive, str(outside / "file")),
    "symlink": lambda archive, outside: add_link(archive, outside, tarfile.SYMTYPE),
    "hard link": lambda archive, outside: add_link(archive, outside / "kept", tarfile.LNKTYPE),
    "above, by a link": lambda archive, _: add_link(archive, Path("../outside"), tarfile.SYMTYPE),
}


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Return a folder beside that of the data."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "kept").write_text("as it was")
    return folder


def is_untouched(outside: Path) -> bool:
    return {path.name: path.read_text() for path in outside.iterdir()} == {"kept": "as it was"}


@pytest.mark.parametrize("member", MEMBERS)
@pytest.mark.parametrize("name", TARS)
def test_a_tar_writes_nothing_outside_its_folder(
    tmp_path: Path, outside: Path, monkeypatch: pytest.MonkeyPatch, name: str, member: str
) -> None:
    source, root = SOURCE if name == "stl10" else TARS[name].source, tmp_path / "data"
    root.mkdir()
    path = root / source.filename
    with tarfile.open(path, "w:gz") as archive:
        MEMBERS[member](archive, outside)
    monkeypatch.setattr(source, "tgz_md5", md5(path.read_bytes()))
    before = vars(tarfile.TarFile)["extraction_filter"]
    with pytest.raises(BadData) as refused:
        TARS[name](name, Selection(), DataLocation(root=root, download=True))

    assert is_untouched(outside)
    assert "\n" not in str(refused.value)
    assert vars(tarfile.TarFile)["extraction_filter"] is before


@pytest.mark.parametrize("name", ["../../outside/file", "/outside/file", "..\\outside\\file"])
def test_a_zip_writes_nothing_outside_its_folder(
    tmp_path: Path, outside: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    root = tmp_path / "data"

    def fetch(url: str, download_root: str, md5: str) -> None:
        path = Path(download_root) / Path(url).name
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name.replace("/outside", str(outside), 1) if name[0] == "/" else name, "evil")
        torchvision.datasets.utils.extract_archive(str(path), download_root)

    monkeypatch.setattr(torchvision.datasets.gtsrb, "download_and_extract_archive", fetch)
    with pytest.raises(BadData):
        GTSRB("gtsrb", Selection(), DataLocation(root=root, download=True)).labels("train")

    assert is_untouched(outside)

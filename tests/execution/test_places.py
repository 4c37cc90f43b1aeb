"""Where results are kept: whatever the folder is, and whoever shares it, the same is made and found again."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Lab, modified_times, without_times
from left_checkpoint import leave_checkpoint

from bench.registry.registry import Registry
from bench.storage.records import Record
from bench.storage.verifying import verify

CELLS: dict[str, Any] = {"method": "simclr", "label_frac": (0.5, 1.0)}
LONG = "/".join(["d" * 100] * 2)
NAMES = ["two words", "naïve-éù-結果-😀", "a'b\"c;$(d)&", "-x", LONG]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, registry: Registry) -> tuple[Lab, list[Record]]:
    lab = Lab(tmp_path_factory.mktemp("made") / "results", registry)
    return lab, lab.run(lab.plan(**CELLS))


@pytest.fixture(params=[0o002, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def agree(lab: Lab, made: tuple[Lab, list[Record]]) -> None:
    """Demand the records of the laboratory that nothing happened to, and that nothing is made again."""
    cells = lab.plan(**CELLS)
    assert [without_times(record) for record in lab.run(cells)] == [
        without_times(record) for record in made[1]
    ]
    before = modified_times(lab.folder / "records")
    lab.run(cells)
    assert modified_times(lab.folder / "records") == before
    assert verify(lab.folder).wrong == []


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_of_any_name_is_read_again(lab: Lab, made: tuple[Lab, list[Record]], name: str) -> None:
    place = Lab(lab.folder.parent / name, lab.registry)
    shutil.copytree(made[0].folder, place.folder)
    for path in place.store.root.rglob("*.json"):
        path.unlink()

    agree(place, made)


def test_artifacts_may_be_a_link_to_another_file_system(
    lab: Lab, made: tuple[Lab, list[Record]], elsewhere: Path
) -> None:
    lab.folder.mkdir()
    (lab.folder / "artifacts").symlink_to(elsewhere)

    agree(lab, made)
    assert (lab.folder / "artifacts").is_symlink()
    assert list(elsewhere.glob("*/backbone.safetensors"))


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """Return a folder on another file system, where this machine has one in memory."""
    memory = Path("/dev/shm")  # noqa: S108 - it is removed
    place = (
        memory if os.access(memory, os.W_OK) else tmp_path
    ) / f"bench-{os.getpid()}-{time.monotonic_ns()}"
    place.mkdir()
    yield place
    shutil.rmtree(place)


def test_a_folder_that_is_removed_meanwhile_is_made_again(lab: Lab, made: tuple[Lab, list[Record]]) -> None:
    for _ in lab.pipeline().run(lab.plan(**CELLS)):
        shutil.rmtree(lab.folder)

    agree(lab, made)


def test_a_clock_that_jumps_changes_nothing(
    lab: Lab, made: tuple[Lab, list[Record]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a day, there and back, at every look."""
    true, looks = time.time, iter(range(10**9))
    monkeypatch.setattr(time, "time", lambda: true() + 86400 * (-1) ** next(looks))

    agree(lab, made)


def test_who_may_read_the_folder_may_read_all_that_is_in_it(
    lab: Lab, made: tuple[Lab, list[Record]], umask: int
) -> None:
    """safetensors gives its files to their owner alone."""
    shutil.copytree(
        made[0].folder / "artifacts", lab.folder / "artifacts"
    )  # what follows is made under the umask
    for path in lab.artifacts.folder.iterdir():
        if not (path / "backbone.safetensors").exists():
            shutil.rmtree(path)
    cells = lab.plan(**CELLS)
    lab.run(cells)
    keys = [key for cell in cells for key in (*cell.keys.features.values(), cell.keys.score)]
    files = [path for key in keys for path in lab.artifact(key).iterdir()]
    files += [lab.store.path(cell.names, cell.keys.score) for cell in cells]
    files.append(leave_checkpoint(lab, cells[0], lab.folder / "work"))

    assert {path.stat().st_mode & 0o777 for path in files} == {0o666 & ~umask}

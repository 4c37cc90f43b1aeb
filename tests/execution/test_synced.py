"""Whatever is renamed into its place is on the disk before: a power cut leaves it whole, or as it was."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bench_plugins.datasets.image_files.contents import ENTRY, _write_index
from bench_plugins.datasets.image_files.packed_file import Pack
from conftest import Lab
from left_checkpoint import leave_checkpoint

from bench.storage.set_aside import REJECTED
from bench.system.heartbeat import FOLDER


class Watch:
    """What was synced, and what was renamed that was not."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.synced: dict[int, int] = {}  # by inode, when the file was written last
        self.renamed: list[str] = []
        self.unsynced: list[str] = []
        sync, replace, rename = os.fsync, os.replace, os.rename

        def watch_sync(file: int) -> None:
            sync(file)
            stat = os.fstat(file)
            self.synced[stat.st_ino] = stat.st_mtime_ns

        def watch(move: Callable[..., None]) -> Callable[..., None]:
            def call(source: Any, target: Any, **options: Any) -> None:
                self._look(Path(source), Path(target))
                move(source, target, **options)

            return call

        monkeypatch.setattr(os, "fsync", watch_sync)
        monkeypatch.setattr(os, "replace", watch(replace))
        monkeypatch.setattr(os, "rename", watch(rename))

    def _look(self, source: Path, target: Path) -> None:
        if REJECTED in target.name or target.parent.name == FOLDER:  # it was there before; it is of now alone
            return
        self.renamed.append(target.name)
        for path in source.rglob("*") if source.is_dir() else (source,):
            stat = path.stat()
            if path.is_file() and self.synced.get(stat.st_ino) != stat.st_mtime_ns:
                self.unsynced.append(f"{path.name} of {target.name}")


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    return Watch(monkeypatch)


def test_all_that_a_run_renames_was_synced(lab: Lab, watch: Watch) -> None:
    (cell,) = lab.plan(method="simclr")
    lab.run([cell])
    keys = {cell.keys.backbone, cell.keys.score, *cell.keys.features.values()}

    assert set(watch.renamed) >= {*keys, "manifest.json", lab.store.path(cell.names, cell.keys.score).name}
    assert watch.unsynced == []


def test_a_checkpoint_that_is_renamed_was_synced(lab: Lab, watch: Watch) -> None:
    (cell,) = lab.plan(method="simclr")
    path = leave_checkpoint(lab, cell, lab.folder / "work")

    assert path.name in watch.renamed
    assert watch.unsynced == []


def test_packed_images_and_the_index_of_files_that_are_renamed_were_synced(
    tmp_path: Path, watch: Watch
) -> None:
    def fill(path: Path) -> None:
        path.write_bytes(bytes(range(12)) * 4)

    Pack(tmp_path, "key").pixels((4, 3, 2, 2), fill)
    _write_index(tmp_path / "files.index", np.zeros(2, dtype=ENTRY))

    assert watch.renamed == ["key.bin", "key.json", "files.index"]
    assert watch.unsynced == []


def test_packed_images_of_another_key_are_packed_again(tmp_path: Path) -> None:
    def fill_with(value: int) -> Callable[[Path], Any]:
        return lambda path: path.write_bytes(bytes([value]) * 48)

    shape = (4, 3, 2, 2)
    for key, value in (("a", 1), ("b", 2)):
        Pack(tmp_path, key).pixels(shape, fill_with(value))
    for ending in ("bin", "json"):
        (tmp_path / f"a.{ending}").replace(tmp_path / f"b.{ending}")
    pixels = Pack(tmp_path, "b").pixels(shape, fill_with(3))

    assert torch.equal(pixels, torch.full(shape, 3, dtype=torch.uint8))

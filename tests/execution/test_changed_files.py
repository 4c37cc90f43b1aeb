"""A file that changes after its content went into the keys fails the cell, and no number comes of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Lab
from PIL import Image

from bench.errors import BadData
from bench.planning.cells import Cell
from bench.planning.open_datasets import Datasets
from bench.storage.records import Record

CHANGED = r"^image_folder: train/ant/3\.bmp cannot be used: it changed on the disk after .* Run it again\.$"
OTHERS = r"^image_folder: its files changed after the run was planned\. Run it again\.$"


def noise(path: Path, seed: int) -> None:
    """Write a bitmap, of which the size in bytes is that of any other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.Generator(np.random.PCG64(seed)).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def bitmaps(tmp_path: Path) -> Path:
    for split, count in (("train", 40), ("test", 4)):
        for place, name in enumerate(("ant", "bee")):
            for i in range(count):
                noise(tmp_path / "bitmaps" / split / name / f"{i}.bmp", 1_000 * place + 100 * len(split) + i)
    return tmp_path / "bitmaps"


def swap(root: Path) -> None:
    """Put another image of the same size in the place of one."""
    draft = root / "draft"
    noise(draft.with_suffix(".bmp"), 9)
    draft.with_suffix(".bmp").replace(root / "train" / "ant" / "3.bmp")


def plan(lab: Lab, root: Path, *, packed: bool = False, **settings: Any) -> list[Cell]:
    lab.datasets = Datasets(lab.registry, root.parent / "data", packed=packed)
    told = {"dataset.root": str(root), "dataset.max_train": None, "train.image_size": None, **settings}
    return lab.plan(told, dataset="image_folder", method="simclr", evaluator=("knn", "linear"))


def reasons(records: list[Record]) -> list[str]:
    assert {record["status"] for record in records} == {"failed"}
    return [record["reason"] for record in records]


@pytest.mark.parametrize(
    ("packed", "settings"),
    [
        (False, {}),
        (True, {}),
        (False, {"dataset.stream": True}),
        (False, {"dataset.on_error": "skip"}),
    ],
)
def test_a_file_that_changes_between_plan_and_training_fails_the_cells(
    lab: Lab,
    bitmaps: Path,
    packed: bool,  # noqa: FBT001
    settings: dict[str, Any],
) -> None:
    cells = plan(lab, bitmaps, packed=packed, **settings)
    swap(bitmaps)
    found = reasons(lab.run(cells))
    again = lab.run(plan(lab, bitmaps, packed=packed, **settings))

    assert all(re.match(CHANGED, reason) for reason in found)
    assert [record["status"] for record in again] == ["ok", "ok"]
    assert {record["keys"]["backbone"] for record in again}.isdisjoint({cell.keys.backbone for cell in cells})
    assert len(list((bitmaps.parent / "data").glob("packed/*.bin"))) == (2 if packed else 0)


@pytest.mark.parametrize("memory", ["large", "small"])
def test_a_file_that_changes_during_a_streamed_training_ends_it(
    lab: Lab, bitmaps: Path, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if memory == "small":
        monkeypatch.setattr("bench_plugins.datasets.image_folder.available_memory", lambda: 0)
    cells = plan(lab, bitmaps, **{"dataset.stream": True})
    data = lab.datasets.open(cells[0].dataset)
    stream = data.stream

    def late(split: str) -> Any:
        swap(bitmaps)
        return stream(split)

    monkeypatch.setattr(data, "stream", late)

    assert all(re.match(CHANGED, reason) for reason in reasons(lab.run(cells)))


def test_images_that_are_decoded_anew_are_compared_each_time(
    lab: Lab, bitmaps: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench_plugins.datasets.image_folder.available_memory", lambda: 0)
    (cell, _) = plan(lab, bitmaps, **{"dataset.stream": True})
    pixels = lab.datasets.open(cell.dataset).load("train").pixels
    place = sorted(f"{i}.bmp" for i in range(40)).index("3.bmp")
    rows = torch.tensor([1, place])
    before = pixels[rows]
    swap(bitmaps)

    assert before.shape == (2, 3, 12, 12)
    assert torch.equal(pixels[rows[:1]], before[:1])
    with pytest.raises(BadData, match=CHANGED):
        pixels[rows]


def in_another_process(lab: Lab, cells: list[Cell], data_dir: Path) -> list[Record]:
    """Run cells as a worker does, which opens its own datasets."""
    return list(replace(lab.spec(data_dir=data_dir), local=None).build().run(cells))


def test_a_process_that_opens_other_files_than_were_planned_makes_nothing_of_them(
    lab: Lab, bitmaps: Path
) -> None:
    cells = plan(lab, bitmaps)
    swap(bitmaps)
    records = in_another_process(lab, cells, bitmaps.parent / "data")

    assert all(re.match(OTHERS, reason) for reason in reasons(records))
    assert not list(lab.artifact(cells[0].keys.backbone).glob("*.safetensors"))


def test_observers_of_a_run_on_other_files_are_told_of_the_failure(
    lab: Lab, bitmaps: Path, observing: Callable[[str, str], Any]
) -> None:
    watcher = observing(
        "watcher", "@hookimpl\ndef bench_cell_end(record, run):\n    seen.append(record['status'])\n"
    )
    cells = plan(lab, bitmaps)
    swap(bitmaps)
    in_another_process(lab, cells, bitmaps.parent / "data")

    assert watcher.seen == ["failed", "failed"]

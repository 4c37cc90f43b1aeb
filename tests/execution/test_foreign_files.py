"""What lies where a cell looks but is another's gives no number: it is set aside, and the right one made."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
from conftest import Lab, without_times
from left_checkpoint import leave_checkpoint

from bench.planning.cells import Cell
from bench.pretraining.checkpoint import FILE
from bench.storage.records import Record

SIMCLR: dict[str, Any] = {"method": "simclr", "evaluator": "knn"}


@pytest.fixture
def cells(lab: Lab) -> list[Cell]:
    """Return a cell of each of two seeds."""
    return lab.plan(seed=(0, 1), **SIMCLR)


@pytest.fixture
def expected(lab: Lab, cells: list[Cell]) -> list[Record]:
    """Return the records of both cells, made where nothing foreign lies."""
    return lab.beside("expected").run(cells)


def test_the_two_seeds_can_be_told_apart(expected: list[Record]) -> None:
    one, other = (record["metrics"]["top1"]["value"] for record in expected)

    assert one != other


def test_a_training_does_not_go_on_from_another_seeds_checkpoint(
    lab: Lab, cells: list[Cell], expected: list[Record], caplog: pytest.LogCaptureFixture
) -> None:
    cell, other = cells
    leave_checkpoint(lab, other, lab.artifact(".work") / cell.keys.backbone)
    (record,) = lab.run([cell])

    assert without_times(record) == without_times(expected[0])
    assert f"the checkpoint is of another training, {other.keys.backbone}" in caplog.text
    assert (lab.artifact(cell.keys.backbone) / f"{FILE}.rejected").exists()


def test_a_training_goes_on_from_its_own_checkpoint(
    lab: Lab, cells: list[Cell], expected: list[Record], caplog: pytest.LogCaptureFixture
) -> None:
    """That of the test above is refused for its key alone."""
    leave_checkpoint(lab, cells[0], lab.artifact(".work") / cells[0].keys.backbone)
    (record,) = lab.run([cells[0]])

    assert record["status"] == "ok"
    assert without_times(record) != without_times(expected[0])
    assert caplog.messages == []


def test_a_flipped_bit_in_a_checkpoint_costs_its_training_and_no_other(
    lab: Lab, cells: list[Cell], expected: list[Record]
) -> None:
    path = leave_checkpoint(lab, cells[0], lab.artifact(".work") / cells[0].keys.backbone)
    content = bytearray(path.read_bytes())
    content[-3] ^= 0x40
    path.write_bytes(content)
    records = lab.run(cells)

    assert [*map(without_times, records)] == [*map(without_times, expected)]


@pytest.mark.parametrize("stage", ["backbone", "features"])
def test_another_keys_artifact_is_not_believed_manifest_and_all(
    lab: Lab, cells: list[Cell], expected: list[Record], caplog: pytest.LogCaptureFixture, stage: str
) -> None:
    lab.run([cells[1]])
    key, other = (cell.keys.backbone if stage == "backbone" else cell.keys.features["test"] for cell in cells)
    shutil.copytree(lab.artifact(other), lab.artifact(key))
    (record,) = lab.run([cells[0]])

    assert without_times(record) == without_times(expected[0])
    assert f"the artifact is of another key, {other}. It is set aside as {key}.rejected" in caplog.text

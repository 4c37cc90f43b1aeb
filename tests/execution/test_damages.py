"""Whatever is read knows whose it is: each file, damaged in each way, is named, and the numbers stay."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Lab, without_times
from left_checkpoint import leave_checkpoint

from bench.planning.cells import Cell
from bench.registry.registry import Registry
from bench.reporting.status import describe_status
from bench.reporting.table import build_table
from bench.storage.epochs import read_epochs
from bench.storage.predictions import read_predictions
from bench.storage.records import Record
from bench.storage.verifying import verify

CELLS: dict[str, Any] = {"method": "simclr", "evaluator": "knn", "seed": (0, 1)}
PLACES: dict[str, Callable[[Lab, Cell], Path]] = {  # of a cell, by the kind of file
    "record": lambda lab, cell: lab.store.path(cell.names, cell.keys.score),
    "weights": lambda lab, cell: lab.artifact(cell.keys.backbone) / "backbone.safetensors",
    "what a backbone says": lambda lab, cell: lab.artifact(cell.keys.backbone) / "about.json",
    "a backbone's manifest": lambda lab, cell: lab.artifact(cell.keys.backbone) / "manifest.json",
    "log": lambda lab, cell: lab.artifact(cell.keys.backbone) / "metrics.jsonl",
    "features": lambda lab, cell: lab.artifact(cell.keys.features["test"]) / "features.safetensors",
    "what features say": lambda lab, cell: lab.artifact(cell.keys.features["train"]) / "about.json",
    "predictions": lambda lab, cell: lab.artifact(cell.keys.score) / "predictions.safetensors",
    "predictions' manifest": lambda lab, cell: lab.artifact(cell.keys.score) / "manifest.json",
    "checkpoint": lambda lab, cell: leave_checkpoint(lab, cell, lab.artifact(".work") / cell.keys.backbone),
}
REMADE = {"record", "checkpoint"}  # of others, the record is taken away, so that they are read again
OF_BACKBONE = {"weights", "what a backbone says", "a backbone's manifest", "log", "checkpoint"}
SAID = {
    "record": ("damaged, no JSON", "was changed after it was written", "holds the record of another cell"),
    "log": ("it is not what was logged",),
    "checkpoint": ("the checkpoint is damaged", "the checkpoint is of another training"),
}
USUALLY_SAID = ("the artifact is damaged", "the artifact is of another key")


def truncate(path: Path, _: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path, _: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) * 3 // 4] ^= 1
    path.write_bytes(content)


def exchange(path: Path, other: Path) -> None:
    shutil.copy(other, path)


DAMAGES: dict[str, Callable[[Path, Path], object]] = {
    "truncated": truncate,
    "flipped bit": flip,
    "foreign": exchange,
    "empty": lambda path, _: path.write_bytes(b""),
    "absent": lambda path, _: path.unlink(),
}
FEW = [  # the others are left to `make test-long`
    ("record", "truncated"), ("record", "foreign"), ("weights", "flipped bit"), ("features", "foreign"),
    ("log", "truncated"), ("predictions", "flipped bit"), ("checkpoint", "truncated"), ("weights", "absent"),
    ("a backbone's manifest", "empty"), ("what a backbone says", "foreign"),
]  # fmt: skip
ALL = [
    pytest.param(kind, damage, marks=[] if (kind, damage) in FEW else [pytest.mark.long])
    for kind in PLACES
    for damage in DAMAGES
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, registry: Registry) -> tuple[Lab, list[Record]]:
    """Return a laboratory in which two seeds are made, and their records."""
    lab = Lab(tmp_path_factory.mktemp("made") / "results", registry)
    return lab, lab.run(lab.plan(**CELLS))


@pytest.fixture
def copied(lab: Lab, made: tuple[Lab, list[Record]]) -> Lab:
    """Return a laboratory with a copy of these."""
    shutil.copytree(made[0].folder, lab.folder)
    return lab


@pytest.mark.parametrize(("kind", "damage"), ALL)
def test_a_damaged_file_is_named_and_the_rerun_gives_the_same_numbers(
    copied: Lab,
    made: tuple[Lab, list[Record]],
    caplog: pytest.LogCaptureFixture,
    kind: str,
    damage: str,
) -> None:
    cell, other = copied.plan(**CELLS)
    if kind == "checkpoint":
        shutil.rmtree(copied.artifact(cell.keys.backbone))
    if kind in OF_BACKBONE:  # it is read where there are no features of it
        for key in cell.keys.features.values():
            shutil.rmtree(copied.artifact(key))
    if kind not in REMADE:
        PLACES["record"](copied, cell).unlink()
    elif kind == "checkpoint":
        PLACES["record"](copied, cell).unlink()
        foreign = PLACES[kind](copied.beside("other"), other)
    foreign = foreign if kind == "checkpoint" else PLACES[kind](copied, other)
    path = PLACES[kind](copied, cell)
    trained = copied.artifact(cell.keys.backbone) / "backbone.safetensors"
    stamp = trained.stat().st_mtime_ns if trained.exists() else None
    DAMAGES[damage](path, foreign)
    wrong = verify(copied.folder).wrong
    (record,) = copied.run([cell])

    assert without_times(record) == without_times(made[1][0])
    said = SAID.get(kind, USUALLY_SAID)
    is_told = (kind, damage) not in {("record", "absent"), ("checkpoint", "absent")}
    is_told = is_told and not kind.startswith("predictions")  # which are made anew, with the record
    assert any(words in message for words in said for message in caplog.messages) is is_told
    assert bool(wrong) is (kind != "checkpoint" and (kind, damage) != ("record", "absent"))
    if kind == "log":
        assert trained.stat().st_mtime_ns == stamp
    caplog.clear()
    assert without_times(copied.run([cell])[0]) == without_times(record)
    assert caplog.messages == []
    assert verify(copied.folder).wrong == []


@pytest.mark.parametrize("damage", DAMAGES)
def test_predictions_that_are_not_what_was_written_are_noticed_while_their_record_stands(
    copied: Lab, made: tuple[Lab, list[Record]], caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    cell, other = copied.plan(**CELLS)
    path, foreign = (PLACES["predictions"](copied, one) for one in (cell, other))
    DAMAGES[damage](path, foreign)
    before = read_predictions(made[0].artifacts, cell.keys.score)

    assert before is not None
    assert read_predictions(copied.artifacts, cell.keys.score) is None
    assert "these predictions are not what was written, and are left out" in caplog.text
    assert len(verify(copied.folder).wrong) == 1
    build_table(copied.store.records(), folder=[copied.folder])
    if damage not in ("flipped bit", "foreign"):  # which are of the same size
        said = describe_status(copied.store.records(), copied.folder)
        assert "predictions: of 2 records, those of 0 are gone and those of 1 are damaged" in said


def test_predictions_that_are_gone_while_their_record_stands_are_noticed(copied: Lab) -> None:
    cell, _ = copied.plan(**CELLS)
    shutil.rmtree(copied.artifact(cell.keys.score))

    assert "predictions of 1 of 2 records are not there" in verify(copied.folder).noted[0]
    said = describe_status(copied.store.records(), copied.folder)
    assert "predictions: of 2 records, those of 1 are gone and those of 0 are damaged" in said


def test_a_log_whose_bits_were_flipped_gives_no_curve(copied: Lab, caplog: pytest.LogCaptureFixture) -> None:
    cell, _ = copied.plan(**CELLS)
    assert read_epochs(copied.artifacts, cell.keys.backbone)
    flip(PLACES["log"](copied, cell), Path())

    assert read_epochs(copied.artifacts, cell.keys.backbone) == []
    assert "it is not what was logged, and is left out" in caplog.text

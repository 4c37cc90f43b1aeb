"""What Weights & Biases' own reader finds of a run that was logged offline."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from logged_runs import EPOCHS, STEPS, Logged, log_failures_and_one_success
from wandb.proto.wandb_internal_pb2 import Record

from bench.registry.registry import Registry

Log = Callable[..., Logged]
HEADER, CHUNK, BLOCK = 7, 7, 32768  # bytes: of a file, of a chunk's header, of a block
FULL, LAST = 1, 4  # chunks that end a record


def records(file: Path) -> Iterator[Any]:
    """Yield the records of a file that `wandb sync` sends: a log as LevelDB writes it, of W&B's messages."""
    data, place, parts = file.read_bytes(), HEADER, b""
    while place + CHUNK <= len(data):
        if BLOCK - place % BLOCK < CHUNK:  # no chunk begins there
            place += BLOCK - place % BLOCK
            continue
        length, kind = struct.unpack("<HB", data[place + 4 : place + CHUNK])
        parts += data[place + CHUNK : place + CHUNK + length]
        place += CHUNK + length
        if kind in (FULL, LAST):
            record = Record()
            record.ParseFromString(parts)
            parts = b""
            yield record


def items(entries: Any) -> dict[str, Any]:
    return {entry.key or "/".join(entry.nested_key): json.loads(entry.value_json) for entry in entries}


def read(folder: Path) -> tuple[list[Any], list[dict[str, Any]], dict[str, Any]]:
    """Return the runs, the lines of their histories and their summaries, of all files of a folder."""
    found = [record for file in sorted(folder.rglob("*.wandb")) for record in records(file)]
    runs = [record.run for record in found if record.WhichOneof("record_type") == "run"]
    history = [items(r.history.item) for r in found if r.WhichOneof("record_type") == "history"]
    summary: dict[str, Any] = {}
    for record in found:
        if record.WhichOneof("record_type") == "summary":
            summary |= items(record.summary.update)
    return runs, history, summary


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))


def test_a_backbone_is_one_run_with_settings_curves_views_and_scores(log: Log) -> None:
    logged = log("--log", "wandb", "--set", "wandb.project=mine")
    runs, history, summary = read(logged.folder / "wandb")
    config = {name: value for run in runs for name, value in items(run.config.update).items()}

    assert {(run.run_id, run.project) for run in runs} == {(logged.key, "mine")}
    assert config["simclr.hidden_dim"] == 32
    assert config["train.batch_size"] == 24
    assert [line["step"] for line in history if "train/contrastive" in line] == list(
        range(1, EPOCHS * STEPS + 1)
    )
    assert [line["epoch"] for line in history if "epoch/loss" in line] == list(range(1, EPOCHS + 1))
    assert summary["status"] == "ok"
    assert summary["scores/knn@50%/top1"] == pytest.approx(logged.value("knn", 0.5))
    assert summary["scores/linear/top1"] == pytest.approx(logged.value("linear", 1.0))
    assert list((logged.folder / "wandb").rglob("media/images/views*.png"))


def test_a_score_that_comes_later_is_of_the_same_run(log: Log) -> None:
    log("--log", "wandb", "--eval", "knn")
    logged = log("--log", "wandb")
    runs, history, summary = read(logged.folder / "wandb")

    assert {run.run_id for run in runs} == {logged.key}
    assert len([line for line in history if "epoch/loss" in line]) == EPOCHS
    assert "scores/linear/top1" in summary


def test_each_cell_has_a_status_which_a_later_success_goes_over(tmp_path: Path) -> None:
    cls = Registry.load().load_class("loggers", "wandb")
    log_failures_and_one_success(cls(cls.Config(), tmp_path))
    _, _, summary = read(tmp_path / "wandb")

    assert summary["scores/knn@1%/status"] == "failed: it broke"
    assert summary["scores/knn@10%/status"] == "ok"
    assert summary["scores/knn@10%/top1"] == 50.0

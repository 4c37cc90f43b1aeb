from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from made_records import full_record

from bench.errors import UsageError
from bench.storage.frame import results
from bench.storage.records import RecordStore

FIRST_COLUMNS = [
    "method", "backbone", "dataset", "eval_dataset", "evaluator", "label_frac", "shots", "keep_one",
    "seed", "configuration", "status", "metric", "value",
]  # fmt: skip


def test_the_frame_has_a_row_a_metric_and_the_promised_columns(tmp_path: Path) -> None:
    both = {name: {"value": 1.0, "higher_is_better": True, "n": 1} for name in ("top1", "top5")}
    store = RecordStore(tmp_path)
    store.write(full_record("s0", metrics=both, settings={"train.epochs": 100, "method.temperature": 0.5}))
    cost = {"seconds": {"finetune": 2.0, "evaluate": 3.0}, "peak_mb": {"pretrain": None, "evaluate": 4.0}}
    store.write(full_record("s1", evaluator="linear", status="failed", metrics={}, cost=cost))
    frame = results(tmp_path)

    assert list(frame.columns) == [
        *FIRST_COLUMNS, "method.temperature", "train.epochs", "images_per_s", "seconds_pretrain",
        "seconds_features", "seconds_evaluate", "seconds_finetune", "peak_mb_pretrain",
        "peak_mb_features", "peak_mb_evaluate", "peak_mb", "params", "features_images_per_s",
        "views_seen", "forward_passes", "backward_passes",
    ]  # fmt: skip
    assert frame["metric"].tolist()[:2] == ["top1", "top5"]
    assert frame["status"].tolist() == ["ok", "ok", "failed"]
    assert frame[["metric", "value"]].iloc[2].isna().all()
    assert frame["seconds_finetune"].tolist()[2] == 2.0
    assert frame["peak_mb_evaluate"].tolist()[2] == frame["peak_mb"].tolist()[2] == 4.0


def test_the_peak_of_an_older_record_is_the_process_s(tmp_path: Path) -> None:
    RecordStore(tmp_path).write(full_record("s0", cost={"peak_mb": 5.0}))
    frame = results(tmp_path)

    assert frame["peak_mb"].tolist()[0] == 5.0
    assert frame[["peak_mb_pretrain", "peak_mb_features", "peak_mb_evaluate"]].isna().all(axis=None)


def test_a_setting_that_was_left_out_has_its_default_in_the_frame(tmp_path: Path) -> None:
    store = RecordStore(tmp_path)
    config = {"method": {"temperature": 0.5, "widths": [64, 32]}, "training": {"lr": 0.3}}
    store.write(full_record("s0", config=config))
    store.write(
        full_record("s1", settings={"method.temperature": 0.1, "train.lr": 0.2, "method.widths": [1]})
    )
    frame = results(tmp_path)

    assert frame["method.temperature"].tolist() == [0.5, 0.1]
    assert frame["method.widths"].tolist() == [(64, 32), (1,)]
    assert math.isnan(frame["train.lr"].tolist()[0])
    assert frame["train.lr"].tolist()[1] == 0.2


def test_a_configuration_is_shared_by_what_differs_in_its_seed_alone(tmp_path: Path) -> None:
    store = RecordStore(tmp_path)
    other = {"method": {"temperature": 0.5, "version": 2}, "evaluator": {"k": 20}}
    changes: list[dict[str, Any]] = [{"seed": 0}, {"seed": 1}, {"label_frac": 0.1}, {"config": other}]
    for number, change in enumerate(changes):
        store.write(full_record(f"s{number}", **change))
    frame = results(tmp_path)

    assert frame["configuration"].iloc[0] == frame["configuration"].iloc[1]
    assert frame["configuration"].nunique() == 3


def test_a_frame_of_nothing_has_its_columns_and_a_wrong_folder_is_an_error(tmp_path: Path) -> None:
    frame = results(str(tmp_path))

    assert list(frame.columns)[: len(FIRST_COLUMNS)] == FIRST_COLUMNS
    assert frame.empty
    with pytest.raises(UsageError, match="bench run"):
        results(tmp_path / "resutls")

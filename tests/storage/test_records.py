from __future__ import annotations

import json
import logging
import math
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.errors import BadData, CellError, UsageError
from bench.storage.frame import results
from bench.storage.records import RecordStore

FIRST_COLUMNS = [
    "method", "backbone", "dataset", "eval_dataset", "evaluator", "label_frac", "seed", "status", "metric",
    "value",
]  # fmt: skip


def make(score: str = "s0", **changes: Any) -> dict[str, Any]:
    """Return an ok record; a change replaces a part, or one name of its cell."""
    record: dict[str, Any] = {
        "schema": 1,
        "keys": {"backbone": "b0", "features": "f0", "score": score},
        "cell": {
            "method": "simclr", "backbone": "resnet18", "dataset": "digits", "eval_dataset": "digits",
            "evaluator": "knn", "label_frac": 1.0, "seed": 0,
        },
        "settings": {},
        "config": {"method": {"temperature": 0.5}, "evaluator": {"k": 20}, "training": {"epochs": 100}},
        "status": "ok",
        "reason": None,
        "metrics": {"top1": {"value": 71.25, "higher_is_better": True, "n": 360}},
        "per_class": {"recall": [70.0, 72.5]},
        "classes": ["0", "nan"],
        "notes": [],
        "protocol": {"chosen": {"k": 20}},
        "cost": {"seconds": {"pretrain": 1.5, "features": 0.5}, "images_per_s": 900.0, "params": 11},
        "provenance": {"torch": "2.5"},
        "error": None,
    }  # fmt: skip
    cell = {name: changes.pop(name) for name in list(changes) if name in record["cell"]}
    return {**record, **changes, "cell": {**record["cell"], **cell}}


def write_many(folder: str, worker: int) -> None:
    for seed in range(20):
        RecordStore(Path(folder)).write(make("shared", seed=worker))
        RecordStore(Path(folder)).write(make(f"s{worker}-{seed}", seed=seed))


def test_a_record_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    store = RecordStore(tmp_path)
    path = store.write(make())

    assert store.read(path) == make()
    assert path == tmp_path / "records" / "simclr" / "resnet18" / "digits" / "knn-s0.json"
    assert store.find(make()["cell"], "s0") == make()
    assert store.find(make()["cell"], "s1") is None


@pytest.mark.parametrize("name", ["hf-hub:timm/a.b", "..", ".", "a\\b", "x" * 300, "täst %2F", "con|*?", ""])
def test_any_name_is_one_folder_inside_the_store(tmp_path: Path, name: str) -> None:
    store = RecordStore(tmp_path)
    path = store.write(make(backbone=name))

    assert len(path.relative_to(store.root).parts) == 4
    assert path.resolve().is_relative_to(store.root.resolve())
    assert [record["cell"]["backbone"] for record in store.records()] == [name]


def test_names_that_differ_have_paths_that_differ(tmp_path: Path) -> None:
    names = ["a/b", "a%2Fb", "a.b", "a_b", "x" * 300, "x" * 301]
    paths = {RecordStore(tmp_path).path(make(backbone=name)["cell"], "s") for name in names}

    assert len(paths) == len(names)


def test_numbers_that_json_cannot_hold_survive(tmp_path: Path) -> None:
    odd = {"a": math.inf, "b": -math.inf, "c": math.nan}
    metrics = {name: {"value": value, "higher_is_better": True, "n": 1} for name, value in odd.items()}
    path = RecordStore(tmp_path).write(make(metrics=metrics, per_class={"recall": [math.nan, 1.0]}))
    record = RecordStore(tmp_path).read(path)
    frame = results(tmp_path)

    json.loads(path.read_text(), parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert [record["metrics"][name]["value"] for name in "ab"] == [math.inf, -math.inf]
    assert math.isnan(record["metrics"]["c"]["value"])
    assert math.isnan(record["per_class"]["recall"][0])
    assert record["classes"] == ["0", "nan"]
    assert frame["metric"].tolist() == ["a", "b", "c"]
    assert frame["value"].tolist()[:2] == [math.inf, -math.inf]


def test_a_result_is_not_lost_to_the_type_of_a_value(tmp_path: Path) -> None:
    odd = {"x": np.float32(0.5), "y": np.arange(2), "z": (1, 2), "p": Path("a"), "s": {"b", "a"}}
    path = RecordStore(tmp_path).write(make(protocol=odd))

    assert RecordStore(tmp_path).read(path)["protocol"] == {
        "x": 0.5,
        "y": [0, 1],
        "z": [1, 2],
        "p": "a",
        "s": ["a", "b"],
    }


def test_the_same_record_is_the_same_bytes_however_it_was_built(tmp_path: Path) -> None:
    first = RecordStore(tmp_path).write(make()).read_bytes()
    second = RecordStore(tmp_path).write(dict(reversed(make().items()))).read_bytes()

    assert first == second
    assert first.endswith(b"}\n")
    assert b'"recall": [70.0, 72.5]' in first


def test_odd_text_survives(tmp_path: Path) -> None:
    classes = ["あ", "a ]b", "[ c", "{d}", "two  spaces", "line\nend", "\u2028", "\udc80", "null"]
    path = RecordStore(tmp_path).write(make(classes=classes, notes=["a ] , [ b"]))

    assert RecordStore(tmp_path).read(path)["classes"] == classes
    assert RecordStore(tmp_path).read(path)["notes"] == ["a ] , [ b"]


def test_a_second_record_of_a_cell_replaces_the_first(tmp_path: Path) -> None:
    store = RecordStore(tmp_path)
    store.write(make(status="failed", metrics={}, reason="out of memory"))
    store.write(make())

    assert [record["status"] for record in store.records()] == ["ok"]


def test_many_workers_write_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=write_many, args=(str(tmp_path), worker)) for worker in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert len(list(RecordStore(tmp_path).records())) == 61
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_half_written_file_is_ignored_and_removed_only_when_old(tmp_path: Path) -> None:
    store = RecordStore(tmp_path)
    folder = store.write(make()).parent
    fresh, old = folder / ".knn-a.1.tmp", folder / ".knn-b.2.tmp"
    for left in (fresh, old):
        left.write_text('{"schema": 1, ')
    os.utime(old, (time.time() - 1e5,) * 2)
    read = list(store.records())
    RecordStore(tmp_path).write(make("s1"))  # of the next run: a store looks once

    assert len(read) == 1
    assert fresh.exists()
    assert not old.exists()


@pytest.mark.parametrize(
    "content",
    ["", '{"schema": 1', "[]", "{}", '{"schema": 1, "cell": {}}', "<<<<<<< HEAD\n", "\xff", "[" * 100_000,
     json.dumps({**make(), "metrics": {"top1": 3}}), json.dumps({**make(), "status": "fine"}),
     json.dumps({**make(), "cell": {"method": "x"}}), json.dumps({**make(), "schema": "1"})],
)  # fmt: skip
def test_a_damaged_file_is_one_warning_that_names_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str
) -> None:
    store = RecordStore(tmp_path)
    path = store.write(make())
    store.write(make("s1"))
    path.write_text(content, encoding="latin-1")
    with caplog.at_level(logging.WARNING):
        read = list(store.records())

    assert [record["keys"]["score"] for record in read] == ["s1"]
    assert [str(path) in message and "\n" not in message for message in caplog.messages] == [True]
    assert store.find(make()["cell"], "s0") is None
    with pytest.raises(BadData):
        store.read(path)


def test_a_record_of_a_newer_bench_is_refused_by_name(tmp_path: Path) -> None:
    store = RecordStore(tmp_path)
    path = store.write({**make(), "schema": 2})

    with pytest.raises(UsageError, match=rf"{path.name}: has schema 2, this bench reads 1\. Upgrade"):
        list(store.records())
    with pytest.raises(UsageError, match="schema 2"):
        store.find(make()["cell"], "s0")


def test_a_copied_file_counts_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = RecordStore(tmp_path)
    path = store.write(make())
    (path.parent / "knn-s0 (copy).json").write_bytes(path.read_bytes())

    assert len(list(store.records())) == 1
    assert "a copy of" in caplog.text


def test_records_come_in_natural_order(tmp_path: Path) -> None:
    for backbone in ("resnet101", "resnet50", "resnet18"):
        RecordStore(tmp_path).write(make(backbone=backbone))
    backbones = [record["cell"]["backbone"] for record in RecordStore(tmp_path).records()]

    assert backbones == ["resnet18", "resnet50", "resnet101"]


@pytest.mark.parametrize("where", ["file", "file/below", "taken", "/proc/nowhere"])
def test_a_record_that_cannot_be_written_is_one_line(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "records").write_text("")
    store = RecordStore(tmp_path / where)

    with pytest.raises(CellError, match=r"could not be written"):
        store.write(make())


def test_the_frame_has_a_row_a_metric_and_the_promised_columns(tmp_path: Path) -> None:
    both = {name: {"value": 1.0, "higher_is_better": True, "n": 1} for name in ("top1", "top5")}
    store = RecordStore(tmp_path)
    store.write(make("s0", metrics=both, settings={"train.epochs": 100, "method.temperature": 0.5}))
    cost = {"seconds": {"finetune": 2.0, "evaluate": 3.0}, "peak_mb": 4.0}
    store.write(make("s1", evaluator="linear", status="failed", metrics={}, cost=cost))
    frame = results(tmp_path)

    assert list(frame.columns) == [
        *FIRST_COLUMNS, "method.temperature", "train.epochs", "images_per_s", "seconds_pretrain",
        "seconds_features", "seconds_evaluate", "seconds_finetune", "peak_mb", "params",
        "features_images_per_s",
    ]  # fmt: skip
    assert frame["metric"].tolist()[:2] == ["top1", "top5"]
    assert frame["status"].tolist() == ["ok", "ok", "failed"]
    assert frame[["metric", "value"]].iloc[2].isna().all()
    assert frame["seconds_finetune"].tolist()[2] == 2.0


def test_a_setting_that_was_left_out_has_its_default_in_the_frame(tmp_path: Path) -> None:
    store = RecordStore(tmp_path)
    config = {"method": {"temperature": 0.5, "widths": [64, 32]}, "training": {"lr": 0.3}}
    store.write(make("s0", config=config))
    store.write(make("s1", settings={"method.temperature": 0.1, "train.lr": 0.2, "method.widths": [1]}))
    frame = results(tmp_path)

    assert frame["method.temperature"].tolist() == [0.5, 0.1]
    assert frame["method.widths"].tolist() == [(64, 32), (1,)]
    assert math.isnan(frame["train.lr"].tolist()[0])
    assert frame["train.lr"].tolist()[1] == 0.2


def test_a_frame_of_nothing_has_its_columns_and_a_wrong_folder_is_an_error(tmp_path: Path) -> None:
    frame = results(str(tmp_path))

    assert list(frame.columns)[: len(FIRST_COLUMNS)] == FIRST_COLUMNS
    assert frame.empty
    with pytest.raises(UsageError, match="bench run"):
        results(tmp_path / "resutls")


def test_the_store_and_the_tables_start_without_torch_and_pandas() -> None:
    modules = "bench.storage.records, bench.reporting.table"
    code = f"import sys, {modules}; print({{'torch', 'pandas'}} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert said.stdout.strip() == "set()"

"""Time how long 10,000 records take to read, tabulate and frame: `pytest benchmarks/bench_tables.py`.

`--records 100000` has the benchmark of `bench table` itself, of time and of memory, make a folder of as many.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from safetensors.numpy import save_file
from side_by_side import say

from bench.keys import digest
from bench.reporting.table import table
from bench.storage.artifact_files import PREDICTIONS
from bench.storage.artifacts import ArtifactStore
from bench.storage.frame import results
from bench.storage.record_json import encode
from bench.storage.records import SCHEMA, RecordStore

CPU_TIME = pytest.mark.benchmark(timer=time.process_time)
FIELDS = {f"field{number}": number / 7 for number in range(8)}


def make_record(
    method: str, dataset: str, evaluator: str, frac: float, temperature: float, seed: int
) -> dict[str, Any]:
    cell = {"method": method, "backbone": "resnet18", "dataset": dataset, "eval_dataset": dataset}
    cell |= {"evaluator": evaluator, "label_frac": frac, "seed": seed}
    metrics = ("top1", "top5", "nll", "ece")
    return {
        "schema": SCHEMA,
        "keys": {"backbone": "b", "features": "f", "score": digest([cell, temperature])},
        "cell": cell,
        "settings": {"method.temperature": temperature},
        "config": {
            "method": {"temperature": temperature, **FIELDS}, "evaluator": {"k": 20, **FIELDS},
            "training": {"epochs": 100, **FIELDS}, "views": [FIELDS, {**FIELDS, "blur": 0.5}],
        },
        "status": "ok",
        "metrics": {name: {"value": 70.0 + seed, "higher_is_better": True, "n": 10_000} for name in metrics},
        "per_class": {"recall": [70.0] * 10},
        "cost": {"seconds": {"pretrain": 1.0}, "images_per_s": 900.0, "peak_mb": 800.0, "params": 11_000_000},
    }  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> RecordStore:
    """A store of 10,000 records, written without waiting for the disk."""
    return fill(RecordStore(tmp_path_factory.mktemp("results")), seeds=10)


def fill(store: RecordStore, seeds: int) -> RecordStore:
    """Write 1,000 records a seed."""
    axes = (
        [f"m{number}" for number in range(5)], [f"d{number}" for number in range(10)],
        ["knn", "linear"], [0.01, 1.0], [0.1, 0.2, 0.3, 0.4, 0.5], range(seeds),
    )  # fmt: skip
    for values in itertools.product(*axes):
        content = make_record(*values)
        path = store.path(content["cell"], content["keys"]["score"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(content))
    return store


TABULATE = """
import resource, sys
from pathlib import Path
from bench.cli.main import main
try: main(["table", "--results", sys.argv[1], "--output", sys.argv[2]])
except SystemExit as end: assert not end.code
used = resource.getrusage(resource.RUSAGE_SELF)
unit = 1 if sys.platform == "darwin" else 1024
print(used.ru_utime + used.ru_stime, used.ru_maxrss * unit / 1e6, file=sys.stderr)
"""


@pytest.fixture(scope="module")
def tabulated(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> tuple[float, float]:
    """The processor's seconds and the most MB of `bench table`, in a process of its own."""
    folder = tmp_path_factory.mktemp("many")
    fill(RecordStore(folder), seeds=pytestconfig.getoption("records") // 1000)
    command = [sys.executable, "-c", TABULATE, str(folder), str(folder / "table.md")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    seconds, mb = map(float, done.stderr.split())
    return seconds, mb


@pytest.mark.parametrize(("number", "unit", "per_record"), [(0, "s", 1e-4), (1, "MB", 5e-3)])
def test_the_command(
    benchmark: BenchmarkFixture,
    tabulated: tuple[float, float],
    pytestconfig: pytest.Config,
    number: int,
    unit: str,
    per_record: float,
) -> None:
    count = pytestconfig.getoption("records")
    found = benchmark.pedantic(lambda: tabulated[number], rounds=1)
    what = f"{'peak memory of ' if number else ''}`bench table` of {count:,} records"
    say(benchmark, what=what, goal=f"at most {max(100, count) * per_record:g} {unit}", value=found)


@CPU_TIME
def test_read_ten_thousand_records(benchmark: BenchmarkFixture, store: RecordStore) -> None:
    records = benchmark.pedantic(lambda: list(store.records()), rounds=3)
    say(benchmark, what="read 10,000 records", goal="at most 3 s")

    assert len(records) == 10_000


@CPU_TIME
def test_tabulate_ten_thousand_records(benchmark: BenchmarkFixture, store: RecordStore) -> None:
    records = list(store.records())
    text = benchmark.pedantic(lambda: table(records), rounds=3)
    say(benchmark, what="tabulate 10,000 records", goal="at most 3 s")

    assert "m4" in text


@CPU_TIME
def test_tabulate_one_thousand_records_with_predictions(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    artifacts, draw = ArtifactStore(tmp_path), np.random.default_rng(0)
    labels = draw.integers(0, 10, 10_000, dtype=np.int32)
    records = []
    for method, dataset, evaluator, frac, temperature in itertools.product(
        [f"m{number}" for number in range(5)], [f"d{number}" for number in range(10)],
        ["knn", "linear"], [0.01, 1.0], [0.1, 0.2, 0.3, 0.4, 0.5],
    ):  # fmt: skip
        record = make_record(method, dataset, evaluator, frac, temperature, 0)
        predicted = np.where(draw.random(10_000) < 0.7, labels, -1).astype(np.int32)
        record["metrics"]["top1"]["value"] = 100 * float((predicted == labels).mean())
        with artifacts.write(record["keys"]["score"]) as folder:
            save_file({"label": labels, "prediction": predicted}, folder / PREDICTIONS)
        records.append(record)
    text = benchmark.pedantic(lambda: table(records, folder=tmp_path), rounds=3)
    say(benchmark, what="tabulate 1,000 records of one seed by their predictions", goal="at most 3 s")

    assert "McNemar on one seed's test images" in text


@CPU_TIME
def test_frame_ten_thousand_records(benchmark: BenchmarkFixture, store: RecordStore) -> None:
    frame = benchmark.pedantic(lambda: results(store.folder), rounds=3)

    assert len(frame) == 40_000

"""How long 10,000 cells take to plan, labels read and keys made."""

from __future__ import annotations

import time
from typing import Any

import pytest
from side_by_side import say

from bench.planning.open_datasets import Datasets
from bench.planning.planner import plan
from bench.planning.request import Request
from bench.registry.registry import Registry

HUNDRED = tuple(range(1, 101))
GRIDS = {
    "of one backbone": Request(
        evaluator=("knn",), settings={"knn.k": HUNDRED, "knn.temperature": tuple(n / 100 for n in HUNDRED)}
    ),
    "of 100 seeds": Request(
        method=("simclr", "vicreg", "supervised", "random", "pixels"), evaluator=("linear", "knn"),
        label_frac=tuple(n / 10 for n in range(1, 11)), seed=HUNDRED,
    ),
    "of 10,000 backbones": Request(
        evaluator=("knn",), settings={"train.epochs": HUNDRED, "train.lr": tuple(n / 100 for n in HUNDRED)}
    ),
}  # fmt: skip


@pytest.mark.benchmark(timer=time.process_time)
@pytest.mark.parametrize("grid", GRIDS)
def test_plan_ten_thousand_cells(benchmark: Any, grid: str) -> None:
    registry = Registry.load()
    plan(Request(), registry, Datasets(registry))  # imports what it needs
    cells = benchmark.pedantic(lambda: plan(GRIDS[grid], registry, Datasets(registry)), rounds=3)
    say(benchmark, what=f"plan 10,000 cells {grid}", goal="at most 3 s")

    assert len(cells) == 10_000

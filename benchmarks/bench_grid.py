"""What the harness adds to 1,000 cells whose features are there, and takes to find them again.

The evaluator of the 1,000 cells is the cheapest there is, so that there is much harness in their time;
what it adds a cell is then put beside the work of a cell of the default evaluator.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from side_by_side import say

from bench.contracts.evaluator import Evaluator, Scores, Task
from bench.execution.pipeline import LocalParts, PipelineSpec
from bench.planning.open_datasets import Datasets
from bench.planning.planner import plan
from bench.planning.request import Request
from bench.registry.registry import Registry

CELLS, LINEAR = 1000, 2
NEIGHBOURS = {"knn.k": tuple(range(1, 101)), "knn.temperature": tuple(n / 100 for n in range(1, 11))}
REGISTRY = Registry.load()


class Watch:
    """The processor's seconds inside of an evaluator, and outside."""

    def __init__(self, name: str, patch: pytest.MonkeyPatch) -> None:
        self.inside = 0.0
        evaluate = REGISTRY.load_class("evaluators", name).evaluate

        def timed(evaluator: Evaluator, task: Task) -> Scores:
            started = time.process_time()
            scores: Scores = evaluate(evaluator, task)
            self.inside += time.process_time() - started
            return scores

        patch.setattr(REGISTRY.load_class("evaluators", name), "evaluate", timed)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results with the features of an untrained backbone on digits."""
    folder = tmp_path_factory.mktemp("results")
    run(folder, Request(method=("random",), evaluator=("knn",)))
    return folder


@pytest.fixture(scope="module")
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def run(folder: Path, request: Request) -> float:
    """Plan and run a grid as a new process would, and return the processor's seconds."""
    started, datasets = time.process_time(), Datasets(REGISTRY)
    parts = LocalParts(REGISTRY, datasets)
    pipeline = PipelineSpec(results=folder, local=parts).build()
    records = list(pipeline.run(plan(request, REGISTRY, datasets)))

    assert {record["status"] for record in records} == {"ok"}
    return time.process_time() - started


def test_a_thousand_cells_with_features(benchmark: Any, folder: Path, patch: pytest.MonkeyPatch) -> None:
    neighbours, linear = Watch("knn", patch), Watch("linear", patch)
    grid = Request(method=("random",), evaluator=("knn",), settings=NEIGHBOURS)
    made = benchmark.pedantic(run, (folder, grid), rounds=1)
    tolerances = tuple(1e-7 / n for n in range(1, LINEAR + 1))
    run(folder, Request(method=("random",), settings={"linear.tolerance": tolerances}))
    outside = (made - neighbours.inside) / CELLS
    work = linear.inside / LINEAR
    what = f"harness of a cell of 1,000 ({1e3 * outside:.1f} ms), of the work of one with `linear` on digits"
    say(benchmark, what=what, goal="at most 1 %", value=100 * outside / work)
    benchmark.extra_info["outside_of_knn_percent"] = 100 * outside * CELLS / neighbours.inside


def test_a_thousand_cells_are_found(benchmark: Any, folder: Path) -> None:
    grid = Request(method=("random",), evaluator=("knn",), settings=NEIGHBOURS)
    run(folder, grid)
    seconds = benchmark.pedantic(run, (folder, grid), rounds=1)
    what = "find 1,000 cells that are there, ms a cell"
    say(benchmark, what=what, goal="", value=1e3 * seconds / CELLS)

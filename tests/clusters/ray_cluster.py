"""A grid on a Ray cluster of three nodes on this host, one of which is killed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import ray
from cluster_grids import Grid
from environment import environment
from ray.cluster_utils import Cluster

SHORT, LONG = ("--seed", "0,1", "--epochs", "2"), ("--seed", "0,1", "--epochs", "20")
Alone = Callable[[Sequence[str]], dict[str, Any]]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """Start a head that runs nothing and two nodes of one processor each."""
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])  # which tasks get
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        made.add_node(num_cpus=1)
    made.wait_for_nodes()
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture
def grid(tmp_path: Path, cluster: Cluster) -> Grid:
    """Return a grid whose runs are processes: this one holds the cluster."""
    return Grid(tmp_path / "results", "--executor", "ray", "--set", f"ray.address={cluster.address}")


def test_a_grid_is_made_with_the_numbers_of_one_machine(grid: Grid, alone: Alone) -> None:
    said = grid.run(*SHORT)
    again = grid.run(*SHORT)

    assert "| simclr" in said
    assert again == said
    assert grid.numbers() == alone(SHORT)
    assert len(list(grid.results.glob("submissions/*.json"))) == 1
    assert not list(grid.results.rglob("*.pkl"))


def test_what_a_node_that_is_killed_was_at_goes_on_elsewhere(
    grid: Grid, cluster: Cluster, alone: Alone
) -> None:
    run = grid.start(*LONG)
    end = time.monotonic() + 900
    while sum(bool(path.read_text()) for path in grid.results.glob("artifacts/.work/*/metrics.jsonl")) < 2:
        assert time.monotonic() < end
        assert run.poll() is None, run.stdout and run.stdout.read()
        time.sleep(0.2)
    cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
    said, _ = run.communicate(timeout=900)

    assert run.returncode == 0, said
    assert len(grid.records()) == 2
    assert grid.numbers() == alone(LONG)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (("ray.cpus=9",), "ray: no node of the cluster has 9 CPUs and 0 GPUs."),
        (("ray.gpus=1",), "ray: no node of the cluster has 1 CPUs and 1 GPUs."),
        (("ray.address=127.0.0.1:1",), "ray: the cluster at 127.0.0.1:1 cannot be joined"),
    ],
)
def test_what_the_cluster_has_not_is_one_line(grid: Grid, settings: tuple[str, ...], said: str) -> None:
    if settings[0].startswith("ray.address"):
        grid.executor = grid.executor[:2]
    process = grid.start(*SHORT, *(word for one in settings for word in ("--set", one)))
    error, _ = process.communicate(timeout=300)

    assert process.returncode == 2
    assert error.splitlines()[-1].startswith(f"Error: {said}")
    assert not grid.results.exists()

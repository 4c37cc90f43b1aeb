"""The numbers that one machine gives a grid, to compare those of a cluster with, and what is left behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from cluster_grids import Grid


def list_files() -> set[Path]:
    """Return what is in the working folder, but for the caches of tools."""
    return {path for path in Path.cwd().iterdir() if not path.name.startswith(".")}


@pytest.fixture(scope="session", autouse=True)
def tidy() -> Iterator[None]:
    """Fail where a job left a file in the working folder, where Slurm writes what has no other place."""
    there = list_files()
    yield

    assert list_files() == there


@pytest.fixture(scope="session")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Sequence[str]], dict[str, Any]]:
    """Return the numbers that this machine alone gives a grid."""
    made: dict[tuple[str, ...], dict[str, Any]] = {}

    def run(args: Sequence[str]) -> dict[str, Any]:
        if tuple(args) not in made:
            grid = Grid(tmp_path_factory.mktemp("alone"))
            grid.run(*args)
            made[tuple(args)] = grid.numbers()
        return made[tuple(args)]

    return run

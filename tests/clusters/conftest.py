"""The numbers that one machine gives a grid, to compare those of a cluster with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from cluster_grids import Grid


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

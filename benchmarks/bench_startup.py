"""How long the command line takes to say something, against `python -c "import click"`."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from side_by_side import of_children, run_quietly, side_by_side

CLICK = [sys.executable, "-c", "import click"]
GOALS = {"--help": "at most 2.5", "list": "", "plugins": ""}


@pytest.mark.parametrize("command", GOALS)
def test_start_up(benchmark: Any, command: str) -> None:
    said = [sys.executable, "-m", "bench", command]
    side_by_side(
        benchmark,
        lambda: run_quietly(said),
        lambda: run_quietly(CLICK),
        what=f'`bench {command}`, against `python -c "import click"`',
        goal=GOALS[command],
        clock=of_children,
        rounds=9,
    )

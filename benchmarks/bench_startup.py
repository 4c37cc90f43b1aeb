"""How long the command line takes to say something, against `python -c "import click"`."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from side_by_side import of_children, run_quietly, say, side_by_side

CLICK = [sys.executable, "-c", "import click"]
GOALS = {"--help": "at most 2.5", "list": "", "plugins": "", "show method simclr": ""}
REFUSED = ("run --method simclrr", "run --set method.temperature=-1", "run --set backbone.stem=big")


@pytest.mark.parametrize("command", GOALS)
def test_start_up(benchmark: Any, command: str) -> None:
    said = [sys.executable, "-m", "bench", *command.split()]
    side_by_side(
        benchmark,
        lambda: run_quietly(said),
        lambda: run_quietly(CLICK),
        what=f'`bench {command}`, against `python -c "import click"`',
        goal=GOALS[command],
        clock=of_children,
        rounds=9,
    )


@pytest.mark.parametrize("command", REFUSED)
def test_refusal(benchmark: Any, command: str) -> None:
    said = [sys.executable, "-m", "bench", *command.split()]

    def measure() -> float:
        before = of_children()
        assert subprocess.run(said, capture_output=True, check=False).returncode == 2  # noqa: S603
        return of_children() - before

    seconds = benchmark.pedantic(lambda: min(measure() for _ in range(5)), rounds=1)
    say(benchmark, what=f"`bench {command}`, refused", goal="at most 0.5 s", value=seconds)

"""The command `bench watch`. What a command needs is imported when it runs."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

import click

from bench.cli.options import results_option
from bench.cli.supervisor import FAILED

REDRAW_S, LINES_S = 2.0, 15.0  # between looks, at a terminal and elsewhere
UP_AND_CLEAR = "\x1b[{}F\x1b[J"  # to the start of a line so many above, and all below is gone


@click.command()
@results_option
@click.option("--interval", type=click.FloatRange(min=0.1), metavar="SECONDS",
              help=f"Between looks.  [default: {REDRAW_S:g}, not at a terminal {LINES_S:g}]")  # fmt: skip
def watch(results: Path, interval: float | None) -> int:
    """Show what runs now, until nothing does.

    The runs may be of any shell, also on another machine that has the folder. Each cell that is being made
    has a line: epoch, loss, kNN, images a second and the time left. A terminal is redrawn in place. The exit
    status is 1 if a run died.
    """
    from bench.reporting.running import describe_running
    from bench.reporting.status import count_cells
    from bench.storage.records import RecordStore

    screen = Screen(sys.stdout)
    running = describe_running(results, screen.width)
    while running.is_alive:
        screen.show(running.lines)
        time.sleep(interval or (REDRAW_S if screen.is_live else LINES_S))
        running = describe_running(results, screen.width)
    screen.show([*running.lines, f"Nothing runs in {results} now."])
    if records := list(RecordStore(results).records()):
        click.echo(f"\n{count_cells(records)}")
    return FAILED if running.lines else 0


class Screen:
    """Shows lines in place of those before at a terminal, and below them elsewhere.

    Args:
        out: where to.
    """

    def __init__(self, out: TextIO) -> None:
        self.out, self.is_live = out, out.isatty() and os.environ.get("TERM") != "dumb"
        self._shown = 0

    @property
    def width(self) -> int | None:
        """Letters that a line may have; none where it is no terminal."""
        return shutil.get_terminal_size().columns - 1 if self.is_live else None

    def show(self, lines: Sequence[str]) -> None:
        """Show lines; at a terminal as many as it has room for, each cut to its width."""
        if self.is_live:
            width, height = shutil.get_terminal_size()
            lines = [line[: width - 1] for line in lines[: height - 1]]  # a line that wraps is two
        above = UP_AND_CLEAR.format(self._shown) if self._shown else ""
        self._shown = len(lines) if self.is_live else 0
        print(above + "\n".join(lines), file=self.out, flush=True)

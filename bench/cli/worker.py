"""The command `bench worker`. What a command needs is imported when it runs."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

import click

from bench.cli.app import Session, session
from bench.cli.options import results_option
from bench.errors import BadData


@click.command()
@results_option
@click.option("--cells", required=True, metavar="NAME[/JOB]",
              help="Those of RESULTS/submissions/NAME.json, all or of one job.")  # fmt: skip
@click.option("--devices", type=click.IntRange(min=1), metavar="N",
              help="That make each cell together.  [default: as many as it was submitted for]")  # fmt: skip
@click.option(
    "--until-eof", is_flag=True, help="Leave when standard input ends, as whoever started this does."
)
@session
def worker(session: Session, /, results: Path, cells: str, devices: int | None, until_eof: bool) -> int:  # noqa: FBT001
    """Make cells that were submitted: what a job of Slurm or Ray does, and anyone can by hand.

    Cells that are there are not made again; those that another worker is at come last. Asked to leave by
    SIGTERM, SIGUSR1 or SIGUSR2, it writes a checkpoint, and the same command goes on from there.

    \b
    bench worker --results results --cells 20260102-150405-8f2c1a/3

    Cells fail where this machine has not the devices that the grid was submitted for. The exit status is 1
    if a cell failed.
    """  # noqa: D301
    from bench.storage.submissions import read_cells

    results = results.absolute()
    submission, chosen = read_cells(results, cells)
    try:
        os.chdir(submission.folder)
    except OSError as error:
        raise BadData(
            f"{submission.folder}: the grid was submitted from there, and here it cannot be entered "
            f"({error.strerror}). Mount it under this path."
        ) from None
    session.by_environment += tuple(submission.grid["blocked"])
    if until_eof:
        threading.Thread(target=_leave_at_eof, daemon=True).start()
    from bench.cli.run_worker import run_worker

    return run_worker(submission, chosen, results, session, devices)


def _leave_at_eof() -> None:
    while os.read(sys.stdin.fileno(), 1 << 16):  # a buffered reader's lock would be in the way of an exit
        pass
    os.kill(os.getpid(), signal.SIGTERM)

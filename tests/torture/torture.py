"""Kill runs, flip bits and fill disks, and count what is another than undisturbed: `make torture`.

`python tests/torture/torture.py [--kills N] [--flips N] [--disks N] [--page FILE]` prints a table, and writes
it into a page. One process loads torch, and forks for every run; a run is the command `bench run`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

from disks import fill, list_disks
from flips import flip_bits
from runs import WRITES, Aim, Run, warm_up

from results import Results

WORKERS, KILLED = 4, 2
STAGES = ("plan", "data", "pretrain", "features", "evaluate", *WRITES)
BEGIN, END = "<!-- torture: begin -->", "<!-- torture: end -->"


@dataclass
class Row:
    """What was tried in one way, and what came of it; all but the first two should be 0."""

    what: str
    tried: int = 0
    lost: int = 0  # records
    torn: int = 0  # records and artifacts that are not what was written
    twice: int = 0  # records and artifacts
    differ: int = 0  # tensors, records and logs
    badly: int = 0  # inputs: no line, more than one of an error, a traceback, another exit status
    faults: list[str] = field(default_factory=list)

    def add(self, results: Results, reference: Results) -> None:
        """Take in what a folder has, once it should be complete."""
        lost, differ = results.compare(reference)
        self.lost += len(lost)
        self.differ += len(differ)
        self.twice += len(results.made_twice())
        self.faults += [*lost, *differ, *results.made_twice()]


def kill(row: Row, folder: Path, kills: int, reference: Results, draws: random.Random) -> None:
    """Kill runs, each at a random moment of a stage, and go on in the same folder until all is made."""
    stages: Counter[str] = Counter()
    number, results = 0, Results(folder / "0")
    aims = [STAGES[i % len(STAGES)] for i in range(kills)]
    draws.shuffle(aims)
    for stage in aims:
        for _ in range(
            20
        ):  # the stage may be over in this folder: then it is complete, and a new one is begun
            aim = Aim(stage, nth=draws.randint(1, 2), share=draws.random())
            ended = Run(results.folder, aim=aim, seconds=reference.seconds).wait()
            if ended.status == -signal.SIGKILL:
                row.tried += 1
                stages[ended.stage] += 1
                row.torn += len(results.torn())
                row.faults += [*results.torn(), *(gone := results.gone())]
                row.lost += len(gone)
                results.notice()
                break
            row.badly += ended.status != 0
            row.add(results, reference)
            number += 1
            results = Results(folder / str(number))
    row.badly += Run(results.folder).wait().status != 0
    row.torn += len(results.torn())
    row.add(results, reference)
    row.what += " (" + ", ".join(f"{stage} {count}" for stage, count in sorted(stages.items())) + ")"


def kill_workers(row: Row, folder: Path, reference: Results, draws: random.Random) -> None:
    """Kill two of four processes that are at one grid, each at a random moment."""
    results = Results(folder)
    runs = [Run(folder, name=str(number)) for number in range(WORKERS)]
    moments = sorted(draws.uniform(0.05, 0.7) * reference.took for _ in range(KILLED))
    begun = time.monotonic()
    for moment, run in zip(moments, draws.sample(runs, KILLED), strict=True):
        time.sleep(max(0.0, begun + moment - time.monotonic()))
        run.kill()
    ended = [run.wait() for run in runs]
    row.tried += sum(one.status == -signal.SIGKILL for one in ended)
    row.badly += sum(one.status not in (0, -signal.SIGKILL) for one in ended)
    row.torn += len(results.torn())
    row.badly += Run(folder).wait().status != 0
    row.add(results, reference)


def torture(asked: argparse.Namespace, folder: Path) -> list[Row]:
    """Return what was tried, and what came of it.

    Args:
        asked: what the command line asks for.
        folder: an empty one, for all the results.
    """
    warm_up(folder / "nothing", asked.eval)
    draws = random.Random(asked.seed)  # noqa: S311 - moments, and no secrets
    reference = Results.make(folder / "reference")
    rows = [Row("kills of a run"), Row(f"kills of {KILLED} of {WORKERS} processes on one grid")]
    kill(rows[0], folder / "killed", asked.kills, reference, draws)
    for number in range(asked.grids):
        kill_workers(rows[1], folder / f"workers-{number}", reference, draws)
    row = Row("flipped bits, one of a file")
    for flipped in flip_bits(folder / "flipped", reference, asked.flips, draws):
        row.tried += len(flipped.files)
        row.badly += len(flipped.silent) + flipped.is_bad
        row.torn += len(flipped.results.torn())
        row.faults += flipped.silent
        row.add(flipped.results, reference)
    rows.append(row)
    for number, disk in enumerate(list_disks() if asked.disks else []):
        row = Row(disk.what)
        for results, problems in fill(disk, folder / f"disks-{number}", asked.disks, reference):
            row.tried += 1
            row.badly += bool(problems)
            row.torn += len(results.torn())
            row.faults += problems
            row.add(results, reference)
        rows.append(row)
    return rows


def render(rows: list[Row]) -> str:
    """Return the table, in Markdown."""
    head = "| tried | times | records lost | files torn | made twice | bits differ in | answered badly |"
    lines = [head, "|---|---:|---:|---:|---:|---:|---:|"]
    lines += [
        f"| {row.what} | {row.tried} | {row.lost} | {row.torn} | {row.twice} | {row.differ} | {row.badly} |"
        for row in rows
    ]
    return "\n".join(lines)


def write_into(page: Path, table: str) -> None:
    """Put the table between the markers of a page."""
    before, _, rest = page.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    page.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}")


def main() -> int:
    """Return how many faults there are, as an exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50, help="of runs that are alone")
    parser.add_argument("--grids", type=int, default=1, help="at which four processes are, of which two die")
    parser.add_argument("--flips", type=int, help="files, a run each; 0 is one of each kind, in one run")
    parser.add_argument("--disks", type=int, default=8, help="of a kind, that are full at some moment")
    parser.add_argument("--eval", default="knn,linear", help="evaluators of the grid")
    parser.add_argument("--seed", type=int, default=0, help="of moments, files and bits")
    parser.add_argument("--page", type=Path, help="to write the table into")
    parser.add_argument("--json", action="store_true", help="print what was found as JSON")
    parser.add_argument("--folder", type=Path, help="an empty one, to keep the results")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        rows = torture(asked, asked.folder or Path(scratch))
    table = render(rows)
    sys.stdout.write((json.dumps([asdict(row) for row in rows]) if asked.json else table) + "\n")
    for row in rows:
        sys.stderr.write("".join(f"{row.what}: {fault}\n" for fault in row.faults))
    if asked.page:
        write_into(asked.page, table)
    return min(sum(len(row.faults) + row.badly + row.torn for row in rows), 1)


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    sys.exit(main())

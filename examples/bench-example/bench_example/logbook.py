"""A logbook: a line of JSON for each training that starts or ends, and for each cell that is done.

It is called with copies, on a thread of its own: it can neither slow a run nor break it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.api import Run, hookimpl

FILE = "logbook.jsonl"  # in the folder of results


@hookimpl
def bench_run_start(run: Run) -> None:
    """Note that a training starts, or goes on."""
    write(run, "start", epochs=run.epochs, resumed_epoch=run.resumed_epoch)


@hookimpl
def bench_run_end(run: Run, status: str) -> None:
    """Note how a training ended."""
    write(run, "end", status=status)


@hookimpl
def bench_cell_end(record: Mapping[str, Any], run: Run) -> None:
    """Note the scores of a cell."""
    metrics = {name: metric["value"] for name, metric in (record.get("metrics") or {}).items()}
    write(run, "cell", status=record["status"], evaluator=record["cell"]["evaluator"], **metrics)


def write(run: Run, event: str, **more: Any) -> None:
    """Add a line; where several processes do, each line is whole: it is written at once."""
    line = {"time": time.time(), "event": event, "title": run.title, "key": run.key, **more}
    with (Path(run.results) / FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")

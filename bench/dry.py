"""What a run would do, from the same keys it would use: have, make or skip, and how long it takes."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from tabulate import tabulate

from bench.cache import Cache
from bench.contract import Images
from bench.errors import BenchError
from bench.grid import Cell, Datasets
from bench.pretrain import Loop
from bench.progress import Progress, duration
from bench.registry import Registry
from bench.run import fresh_method, run_of
from bench.store import Store

SAMPLE_STEPS = 2  # timed, after as many to warm up


def outlook(
    cells: Sequence[Cell],
    datasets: Datasets,
    registry: Registry,
    store: Store,
    cache: Cache,
    device: torch.device,
) -> str:
    """Return a table of backbones and of scores to have, to make and to skip, with an estimate.

    The estimate is of pretraining: some steps of each backbone that is to be made are timed.
    """
    lines, seconds, unknown = [], 0.0, 0
    backbones = {cell.keys.backbone: cell for cell in cells}
    for key, cell in backbones.items():
        mine = [c for c in cells if c.keys.backbone == key]
        have = sum((store.find(c.names, c.keys.score) or {}).get("status") == "ok" for c in mine)
        if cell.skip:
            lines.append([cell.trained, "skip", "", f"skip {len(mine)}", cell.skip])
            continue
        kept = cache.has(key) or have == len(mine)
        estimate = None if kept else estimated(cell, datasets, registry, device)
        seconds += estimate or 0.0
        unknown += not kept and estimate is None
        took = "" if kept else ("unknown" if estimate is None else duration(estimate))
        scores = ", ".join(f"{word} {n}" for word, n in (("have", have), ("make", len(mine) - have)) if n)
        lines.append([cell.trained, "have" if kept else "make", took, scores, ""])
    headers = ["backbone", "", "takes", "scores", "why"]
    body = tabulate(lines, headers, tablefmt="simple", disable_numparse=True)
    more = f", and {unknown} that could not be timed" if unknown else ""
    return f"{body}\n\nPretraining left: {duration(seconds)}{more}. Nothing was made."


def estimated(cell: Cell, datasets: Datasets, registry: Registry, device: torch.device) -> float | None:
    """Return the seconds that pretraining takes, from some steps on random images; none if they fail."""
    if cell.training is None:
        return 0.0
    data = datasets.open(cell.dataset)
    count, side = cell.training.batch_size * SAMPLE_STEPS, data.info.size
    pixels = torch.randint(0, 256, (count, data.info.channels, side, side), dtype=torch.uint8)
    images = Images(pixels, torch.zeros(count, dtype=torch.int64)).to(device)
    try:
        method = fresh_method(cell, registry, data.info).to(device).train()
        with tempfile.TemporaryDirectory() as folder:
            loop = Loop(method, images, run_of(cell, ((0.5,) * data.info.channels,) * 2, device, Path(folder)))
            silent = Progress("", 1, count, out=io.StringIO())
            speeds = [loop.epoch(0, silent)["images_per_s"] for _ in ("warm up", "time")]
    except (BenchError, RuntimeError):
        return None
    steps = len(data.labels("train")) // cell.training.batch_size
    return steps * cell.training.batch_size * cell.training.epochs / speeds[-1]

"""What a run would do, from the same keys it would use: have, make or skip, and how long it takes."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from tabulate import tabulate

from bench.contracts.dataset import Images
from bench.execution.assembly import build_method, build_training_run
from bench.planning.cells import Cell
from bench.planning.open_datasets import Datasets
from bench.pretraining.loop import TrainingLoop
from bench.registry.registry import Registry
from bench.storage.artifacts import ArtifactStore
from bench.storage.records import RecordStore
from bench.system.progress import Progress, duration

SAMPLE_STEPS = 2  # timed, after as many to warm up


def describe_run(
    cells: Sequence[Cell],
    datasets: Datasets,
    registry: Registry,
    store: RecordStore,
    cache: ArtifactStore,
    device: torch.device,
) -> str:
    """Return a table of backbones and of scores to have, to make and to skip, with an estimate.

    The estimate is of pretraining: some steps of each backbone that is to be made are timed.
    """
    lines, seconds, unknown = [], 0.0, 0
    backbones: dict[str, list[Cell]] = {}
    for cell in cells:
        backbones.setdefault(cell.keys.backbone, []).append(cell)
    for key, mine in backbones.items():
        first, name = mine[0], mine[0].training_title
        skipped = [cell for cell in mine if cell.skip]
        left = [cell for cell in mine if not cell.skip and not _has_score(cell, store)]
        scores = {"have": len(mine) - len(left) - len(skipped), "make": len(left), "skip": len(skipped)}
        said = ", ".join(f"{word} {count}" for word, count in scores.items() if count)
        why = "; ".join(dict.fromkeys(cell.skip for cell in skipped if cell.skip))
        if len(skipped) == len(mine):
            lines.append([name, "skip", "", said, why])
            continue
        if cache.has(key) or all(_has_features(cell, cache) for cell in left):
            lines.append([name, "have", "", said, why])
            continue
        estimate = estimate_seconds(first, datasets, registry, device)
        seconds, unknown = seconds + (estimate or 0.0), unknown + (estimate is None)
        lines.append([name, "make", "unknown" if estimate is None else duration(estimate), said, why])
    body = tabulate(
        lines, ["backbone", "", "takes", "scores", "why"], tablefmt="simple", disable_numparse=True
    )
    more = f", and {unknown} that could not be timed" if unknown else ""
    return f"{body}\n\nPretraining left: {duration(seconds)}{more}. Nothing was made."


def _has_score(cell: Cell, store: RecordStore) -> bool:
    return (store.find(cell.names, cell.keys.score) or {}).get("status") == "ok"


def _has_features(cell: Cell, cache: ArtifactStore) -> bool:
    return all(map(cache.has, cell.keys.features.values()))


def estimate_seconds(
    cell: Cell, datasets: Datasets, registry: Registry, device: torch.device
) -> float | None:
    """Return the seconds that pretraining takes, from some steps on random images; none if they fail."""
    if cell.training is None:
        return 0.0
    data = datasets.open(cell.dataset)
    channels, side = data.info.channels, data.info.size
    a_step = cell.training.step_images
    count = a_step * SAMPLE_STEPS
    pixels = torch.randint(0, 256, (count, channels, side, side), dtype=torch.uint8)
    images = Images(pixels, torch.zeros(count, dtype=torch.int64)).to(device)
    try:
        method = build_method(cell, registry, data.info).to(device).train()
        with tempfile.TemporaryDirectory() as folder:
            told = build_training_run(cell, ((0.5,) * channels, (0.5,) * channels), device, Path(folder))
            loop, silent = TrainingLoop(method, images, told), Progress("", 1, count, out=io.StringIO())
            speeds = [loop.epoch(0, silent)["images_per_s"] for _ in ("warm up", "time")]
    except Exception:  # noqa: BLE001 - the plugin's boundary; what fails here fails in the run, and is told
        return None
    steps = len(data.labels(cell.split)) // a_step
    return steps * a_step * cell.training.epochs / speeds[-1]

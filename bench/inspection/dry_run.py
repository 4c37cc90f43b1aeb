"""Say what a run would do, from the keys that it would use: what is there, is to be made, or is skipped."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from tabulate import tabulate

from bench.boundary import is_from_user
from bench.contracts.dataset import Images
from bench.execution.assembly import build_method, build_training_run
from bench.planning.cells import Cell
from bench.planning.open_datasets import Datasets
from bench.pretraining.loop import TrainingLoop
from bench.registry.registry import Registry
from bench.storage.artifacts import ArtifactStore
from bench.storage.records import RecordStore
from bench.system.arithmetic import float32_as
from bench.system.progress import Progress, duration

SAMPLE_STEPS = 2  # timed, after as many to warm up
HEADERS = ("backbone", "", "takes", "scores", "why")


@dataclass(frozen=True)
class BackboneCells:
    """The cells of one backbone, by what is to be done for their scores."""

    all: Sequence[Cell]
    skipped: Sequence[Cell]
    missing: Sequence[Cell]

    @property
    def counts(self) -> str:
        """How many scores are there, to be made and skipped."""
        counts = {
            "have": len(self.all) - len(self.missing) - len(self.skipped),
            "make": len(self.missing),
            "skip": len(self.skipped),
        }
        return ", ".join(f"{word} {count}" for word, count in counts.items() if count)

    @property
    def reasons(self) -> str:
        """Why cells are skipped, each reason once."""
        return "; ".join(dict.fromkeys(cell.why_not for cell in self.skipped if cell.why_not))


def describe_run(
    cells: Sequence[Cell],
    datasets: Datasets,
    registry: Registry,
    store: RecordStore,
    cache: ArtifactStore,
    device: torch.device,
) -> str:
    """Return a table of backbones and their scores: what is there, to be made or skipped, with an estimate.

    The estimate is of pretraining: some steps of each backbone that is to be made are timed.

    Args:
        cells: of the grid.
        datasets: where datasets are opened.
        registry: of plugins.
        store: of records.
        cache: of backbones and features.
        device: that would train.
    """
    rows, total, untimed = [], 0.0, 0
    for key, group in _group_by_backbone(cells, store).items():
        action, takes = "make", ""
        if len(group.skipped) == len(group.all):
            action = "skip"
        elif cache.has(key) or all(_has_features(cell, cache) for cell in group.missing):
            action = "have"
        else:
            seconds = estimate_seconds(group.all[0], datasets, registry, device)
            takes = "unknown" if seconds is None else duration(seconds)
            total, untimed = total + (seconds or 0.0), untimed + (seconds is None)
        rows.append([group.all[0].training_title, action, takes, group.counts, group.reasons])
    table = tabulate(rows, HEADERS, tablefmt="simple", disable_numparse=True)
    unknown = f", and {untimed} that could not be timed" if untimed else ""
    return f"{table}\n\nPretraining left: {duration(total)}{unknown}. Nothing was made."


def _group_by_backbone(cells: Sequence[Cell], store: RecordStore) -> dict[str, BackboneCells]:
    """Return the cells of each backbone by its key."""
    by_key: dict[str, list[Cell]] = {}
    for cell in cells:
        by_key.setdefault(cell.keys.backbone, []).append(cell)
    return {
        key: BackboneCells(
            all=group,
            skipped=[cell for cell in group if cell.why_not],
            missing=[cell for cell in group if not cell.why_not and not _has_score(cell, store)],
        )
        for key, group in by_key.items()
    }


def _has_score(cell: Cell, store: RecordStore) -> bool:
    return (store.find(cell.names, cell.keys.score) or {}).get("status") == "ok"


def _has_features(cell: Cell, cache: ArtifactStore) -> bool:
    return all(map(cache.has, cell.keys.features.values()))


def estimate_seconds(
    cell: Cell, datasets: Datasets, registry: Registry, device: torch.device
) -> float | None:
    """Return the seconds that pretraining takes, from some steps on random images; none if they fail.

    The steps are those of the training: its views at their sizes, its chunks, its precision. Of files that
    are decoded meanwhile, the decoding is not in the estimate.
    """
    if cell.training is None:
        return 0.0
    info = datasets.training_info(cell.dataset, uses_labels=cell.label_share > 0)
    channels, side = info.channels, info.size
    step_images = cell.training.step_images
    count = step_images * SAMPLE_STEPS
    info = replace(info, images=max(info.images, count))
    pixels = torch.randint(0, 256, (count, channels, side, side), dtype=torch.uint8)
    images = Images(pixels, torch.zeros(count, dtype=torch.int64)).to(device)
    try:
        method = build_method(cell, registry, info).to(device).train()
        with tempfile.TemporaryDirectory() as folder:
            run = build_training_run(cell, ((0.5,) * channels, (0.5,) * channels), device, Path(folder))
            loop, silent = TrainingLoop(method, images, run), Progress("", 1, count, out=io.StringIO())
            with float32_as(cell.training.precision), closing(loop.view_source):
                speeds = [loop.epoch(0, silent)["images_per_s"] for _ in ("warm up", "time")]
    except BaseException as error:
        if is_from_user(error):
            raise
        return None  # what fails here fails in the run, and is told there
    return cell.steps * step_images / speeds[-1]

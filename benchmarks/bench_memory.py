"""Peak memory of evaluators beside features that are mapped: `pytest benchmarks/bench_memory.py`, on Linux.

    held     = VmHWM of a process that has evaluated - its resident memory before the task is built
    slope    = what `held` grows by, over what the features grow by, at sizes of equal dim and classes
    ImageNet = held at few rows of its dim and classes + slope * (its features - those)

Each size is a process of its own, which has evaluated a small task before. VmHWM is the kernel's own peak,
which `/proc/self/clear_refs` sets back: nothing falls between two samples. It counts pages of mapped files,
too: all of the features are read before, which has them in both numbers. What is left is memory that the
system cannot take back. Malloc gives back what is freed, as it does in a run of pieces of 1 GiB and more,
which ImageNet's are: smaller ones stay with the process.

Fits are cut to two evaluations and `mlp` to an epoch: what is held does not depend on how many there are.
Labels are drawn blindly, so that no penalty of `linear` is worse than another: all twelve are fitted to their
end at once, which is the most that it can hold. A tenth is held out at every size, as of ImageNet.

    python benchmarks/bench_memory.py linear 80000 512 10 2000

prints what one size holds, in MB.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from bench_plugins.evaluators import linear
from bench_plugins.evaluators.fitting.logistic import fit_all
from bench_plugins.evaluators.knn import KNN
from bench_plugins.evaluators.label_fraction import LabelFraction
from bench_plugins.evaluators.linear import Linear
from bench_plugins.evaluators.mlp import MLP
from side_by_side import say
from tabulate import tabulate

from bench.contracts.evaluator import Features
from bench.evaluation import features
from bench.evaluation.tasks import build_task
from bench.splits.stratified import stratified_holdout
from bench.system.memory import forget_peak, peak_mb

CPU = torch.device("cpu")
BLOCK = 4_096  # rows that are written or read at a time
HERE = "--here"
GIVE_BACK = {
    "MALLOC_MMAP_THRESHOLD_": "33554432",
    "MALLOC_TRIM_THRESHOLD_": "33554432",
}  # 32 MiB, glibc's most
EVALUATIONS = 2  # of a fit's objective
EVALUATORS: dict[str, Any] = {"linear": Linear, "mlp": MLP, "knn": KNN, "label-fraction": LabelFraction}


class Size(NamedTuple):
    """How much there is."""

    rows: int
    dim: int
    classes: int
    test: int

    @property
    def features_mb(self) -> float:
        """The features of training and test rows."""
        return 4 * (self.rows + self.test) * self.dim / 1e6


GROWING = {  # of which a tenth is 10,000 or more: below, `label-fraction` has five folds of a draw at once
    "10 classes": [Size(rows, 512, 10, 2_000) for rows in (110_000, 160_000, 240_000)],
    "100 classes": [Size(rows, 1_024, 100, 2_000) for rows in (110_000, 150_000)],
}
IMAGENET = Size(1_281_167, 2_048, 1_000, 50_000)
FEW = IMAGENET._replace(rows=4_000)  # its heads, test rows and logits; more to fit than dimensions
SMALL = Size(500, 64, 10, 100)


@pytest.mark.parametrize("name", EVALUATORS)
def test_imagenet(benchmark: Any, name: str) -> None:
    """Measure at growing sizes and say what ImageNet takes."""
    sizes = [size for growing in GROWING.values() for size in growing]
    held = benchmark.pedantic(lambda: {size: measure(name, size) for size in [*sizes, FEW]}, rounds=1)
    slopes = {kind: slope(growing, held) for kind, growing in GROWING.items()}
    steepest = max(slopes.values())
    needed = held[FEW] + steepest * (IMAGENET.features_mb - FEW.features_mb)
    benchmark.extra_info |= {"held_mb": {str(tuple(size)): mb for size, mb in held.items()}, "slopes": slopes}
    print(f"\n{name}\n{tabulate(rows_of(held), HEADERS, 'github', floatfmt='.0f')}")  # noqa: T201
    print(f"slopes {slopes}; ImageNet {needed:.0f} MB")  # noqa: T201
    what = f"memory of `{name}` on ImageNet's features, beside them ({needed / 1e3:.1f} GB), in copies"
    say(benchmark, what=what, goal="at most 2", value=needed / IMAGENET.features_mb)
    benchmark.extra_info["spread"] = f"slope {min(slopes.values()):.3g} to {steepest:.3g}"


HEADERS = ("rows", "dim", "classes", "test rows", "features, MB", "held, MB")


def rows_of(held: dict[Size, float]) -> list[tuple[float, ...]]:
    """Return a row of the printed table for each size."""
    return [(*size, size.features_mb, mb) for size, mb in held.items()]


def slope(sizes: list[Size], held: dict[Size, float]) -> float:
    """Return what the last size holds more than the first, for each byte of features that it has more."""
    first, last = sizes[0], sizes[-1]
    return (held[last] - held[first]) / (last.features_mb - first.features_mb)


def measure(name: str, size: Size) -> float:
    """Return what a process of its own holds beside the features, in MB."""
    command, environment = (
        [sys.executable, __file__, HERE, name, *map(str, size)],
        {**os.environ, **GIVE_BACK},
    )
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)  # noqa: S603
    return float(done.stdout)


def evaluate(name: str, size: Size) -> float:
    """Return what is held in this process, in MB."""
    cls = EVALUATORS[name]
    with tempfile.TemporaryDirectory() as folder:
        parts = {
            "train": write(Path(folder) / "train", size.rows, size),
            "test": write(Path(folder) / "test", size.test, size),
        }
        forget_peak(CPU)
        before = peak_mb(CPU)
        task = build_task(parts, tuple(map(str, range(size.classes))), None, 0, CPU)
        fit, held_out = map(torch.from_numpy, stratified_holdout(task.train.y.numpy(), 0.1, 0))
        settings = {"epochs": 1} if name == "mlp" else {}
        cls(cls.Config(**settings)).evaluate(replace(task, folds=((fit, held_out),)))
        return peak_mb(CPU) - before


def write(folder: Path, rows: int, size: Size) -> Features:
    """Write features that say nothing of their labels, and map them with all pages in memory."""
    draw = torch.Generator().manual_seed(rows)
    parts = torch.empty(rows, 0).split(BLOCK)
    folder.mkdir()
    made = (torch.randn(len(part), size.dim, generator=draw) for part in parts)
    features.save(made, torch.randperm(rows, generator=draw) % size.classes, folder)
    mapped = features.load(folder)
    for part in mapped.x.split(BLOCK):
        part.sum()
    return mapped


def fit_shortly(*problems: Any, **settings: Any) -> Any:
    """Fit as `linear` does, for a few evaluations."""
    return fit_all(*problems, **settings | {"max_iter": EVALUATIONS})


if __name__ == "__main__":
    name, *numbers = [word for word in sys.argv[1:] if word != HERE]
    asked = Size(*map(int, numbers))
    if HERE in sys.argv:
        linear.fit_all = fit_shortly
        evaluate(name, SMALL)
    print(evaluate(name, asked) if HERE in sys.argv else measure(name, asked))  # noqa: T201

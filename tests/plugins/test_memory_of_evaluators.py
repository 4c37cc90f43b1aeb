"""Evaluators of large sets hold one copy of the features beside them, whatever steps they take.

`benchmarks/bench_memory.py` measures whole evaluations, and of ImageNet's classes.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from bench_plugins.evaluators.fitting.logistic import Frame, Heads, Rows
from bench_plugins.evaluators.fitting.perceptron import Standard
from bench_plugins.evaluators.knn import KNN
from bench_plugins.evaluators.label_fraction import LabelFraction
from bench_plugins.evaluators.linear import judge
from torch import Tensor

from bench.contracts.evaluator import Features, Task
from bench.evaluation import features as feature_files
from bench.evaluation.tasks import build_task
from bench.metrics.classification import require_finite
from bench.metrics.neighbours import unit_rows
from bench.system.memory import CLEAR, forget_peak, peak_mb

CPU = torch.device("cpu")
ROWS, DIM = 80_000, 256  # 82 MB
X = torch.randn(ROWS, DIM, generator=torch.Generator().manual_seed(0))
Y = torch.arange(ROWS) % 10
measured = pytest.mark.skipif(
    not CLEAR.exists(), reason="this system does not say the peak of a part of a process"
)
FIT = torch.arange(ROWS)[torch.arange(ROWS) % 10 > 0]


def copies_held(work: Callable[[], object]) -> float:
    """Return the most memory that some work takes, in copies of the features; it is done once before."""
    work()
    gc.collect()
    forget_peak(CPU)
    before = peak_mb(CPU)
    kept = work()
    held = 1e6 * (peak_mb(CPU) - before) / X.nbytes
    del kept
    return held


def standardise(index: Tensor | None) -> object:
    standard = Standard.of(X, CPU, index)
    return standard.apply(X, CPU, index)


def task_of(x: Tensor) -> Task:
    few = Features(x[:100].clone(), Y[:100])
    classes = tuple("abcdefghij")
    return Task(train=Features(x, Y), test=few, folds=(), classes=classes, seed=0, device=CPU)


def draw_fractions() -> object:
    """Evaluate five draws of a fifth of the labels, each of which is copied and has a bank."""
    config = LabelFraction.Config(fractions=(0.2,), draws=(5,), probe="knn")
    return LabelFraction(config).evaluate(task_of(X))


def judge_many_classes() -> object:
    """Judge a head whose logits of all rows would be two copies of the features."""
    classes = DIM
    one, zeros = torch.ones(1), torch.zeros(DIM, dtype=torch.float64)
    weight = torch.zeros(1, classes, DIM, dtype=torch.float64)
    head = Heads(zeros, zeros + 1, weight, weight[..., 0], one, one, one)
    return judge(head, Features(X, Y), torch.arange(ROWS))


@measured
@pytest.mark.parametrize(
    ("work", "most"),
    [
        (lambda: Rows.of(X, Y, CPU, Frame.of(X, CPU)), 1.0),
        (lambda: Rows.of(X, Y, CPU, Frame.of(X, CPU, FIT), FIT), 0.9),
        (lambda: standardise(None), 1.0),
        (lambda: standardise(FIT), 0.9),
        (lambda: unit_rows(X), 1.0),
        (lambda: KNN(KNN.Config()).evaluate(task_of(X)), 1.0),
        (draw_fractions, 0.4),
        (judge_many_classes, 0.0),
        (lambda: require_finite(X, "features"), 0.0),
    ],
    ids=[
        "linear",
        "linear, a fold",
        "mlp",
        "mlp, a fold",
        "bank",
        "knn",
        "draws",
        "judged",
        "all are looked at",
    ],
)
def test_there_is_one_copy_beside_the_features(work: Callable[[], object], most: float) -> None:
    assert copies_held(work) < most + 0.35  # blocks, and what the allocator rounds up


@measured
def test_features_of_which_all_are_labelled_stay_in_their_file(tmp_path: Path) -> None:
    feature_files.save([X], Y, tmp_path)

    def build() -> Task:
        mapped = feature_files.load(tmp_path)
        return build_task({"train": mapped, "test": mapped}, tuple("abcdefghij"), None, 0, CPU)

    assert copies_held(build) < 0.1

"""Time of the evaluators on 50,000 features of 512 dimensions in 10 classes, against peers and passes.

Everything runs on one thread: on a machine with other work, threads that wait for each other can make
scikit-learn (or `eigh`) ten times slower, and a ratio of the two says nothing then.
"""

from __future__ import annotations

import importlib
import importlib.util
import time
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import threadpoolctl  # type: ignore[import-untyped]
import torch
from bench_plugins.evaluators.fitting import logistic
from bench_plugins.evaluators.knn import KNN
from bench_plugins.evaluators.label_fraction import LabelFraction
from bench_plugins.evaluators.linear import Linear
from bench_plugins.evaluators.mlp import MLP
from side_by_side import say, side_by_side
from sklearn.linear_model import LogisticRegression

from bench.api import nearest, unit_rows
from bench.augmentation.clean import normalise
from bench.contracts.evaluator import Features, Task, draw_folds
from bench.evaluation.features import extract
from bench.registry.registry import Registry
from bench.system.malloc import keep_freed_pages

ROWS, TEST, DIM, CLASSES = 50_000, 10_000, 512, 10
CPU = torch.device("cpu")
L2 = torch.logspace(-6, 2, 12, dtype=torch.float64)
ALONE = 6  # of L2, 0.02: near what is chosen on features of backbones
SAMPLES = {"small": 256, "standard": 2048}  # images that are passed to measure a pass, by the network's stem
NETWORK = "resnet18 at 32 px, {} stem"
EPOCHS, BATCH = 90, 256  # of the usual probe: images a step

EVERY = (Linear, KNN, MLP, LabelFraction)

Labelled = tuple[torch.Tensor, torch.Tensor]


@pytest.fixture(scope="module")
def gaussian() -> Labelled:
    """Return correlated Gaussian features: the k-th direction has a deviation of 1/k.

    They flatter the linear solver, whose metric is nearly exact on them.
    """
    torch.set_num_threads(1)
    keep_freed_pages()  # as a run does
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(ROWS, DIM, generator=generator)
    signal = 3 * z @ torch.randn(DIM, CLASSES, generator=generator) / DIM**0.5
    y = (signal + torch.randn(ROWS, CLASSES, generator=generator)).argmax(1)
    mix = torch.randn(DIM, DIM, generator=generator) / torch.arange(1, DIM + 1)[:, None]
    x = z @ mix
    return (x - x.mean(0)) / x.std(0), y


@pytest.fixture(scope="module")
def rectified(gaussian: Labelled) -> Labelled:
    """Return features as a backbone ends in: sums of which what is below zero is cut off."""
    x, y = gaussian
    mix = torch.randn(DIM, DIM, generator=torch.Generator().manual_seed(1)) / DIM**0.5
    x = (x @ mix).relu_()
    return (x - x.mean(0)) / x.std(0), y


@pytest.fixture(scope="module")
def task(rectified: Labelled) -> Task:
    """Return a task of CIFAR's size, whose last rows are the test images'."""
    x, y = rectified
    generator = torch.Generator().manual_seed(2)
    rows = torch.randperm(ROWS, generator=generator)[:TEST]
    noise = 0.1 * torch.randn(TEST, DIM, generator=generator)
    train = Features(x, y)
    return Task(
        train=train,
        test=Features(x[rows] + noise, y[rows]),
        folds=draw_folds(train, 0),
        classes=tuple("abcdefghij"),
        seed=0,
        device=CPU,
    )


@pytest.mark.parametrize("kind", ["gaussian", "rectified"])
def test_linear(benchmark: Any, kind: str, request: pytest.FixtureRequest) -> None:
    """Fit the whole grid, and one l2 with scikit-learn at its default tolerance."""
    x, y = request.getfixturevalue(kind)
    model = LogisticRegression(C=1 / (float(L2[ALONE]) * ROWS), tol=1e-4, max_iter=1000)
    with warnings.catch_warnings(), threadpoolctl.threadpool_limits(1):
        warnings.simplefilter("ignore")
        side_by_side(
            benchmark,
            lambda: logistic.fit(x, y, CLASSES, L2, tolerance=1e-7, max_iter=1000, device=CPU),
            lambda: model.fit(x.numpy(), y.numpy()),
            what=f"`linear` with 12 penalties, against scikit-learn with one; 50,000 x 512, {kind}",
            goal="at most 2.5",
            rounds=3,
            warm_up=False,
        )


def test_label_fraction(benchmark: Any, task: Task) -> None:
    """Fit the curve of default fractions and draws, and all labels once."""
    side_by_side(
        benchmark,
        lambda: evaluated(LabelFraction, task),
        lambda: evaluated(Linear, task),
        what="`label-fraction`, against `linear`",
        goal="",
        rounds=1,
        warm_up=False,
    )


@pytest.mark.parametrize("k", [20, 200])
def test_knn(benchmark: Any, gaussian: Labelled, k: int) -> None:
    """Find the neighbours of 10,000 rows, and find them with a flat index."""
    bank = unit_rows(gaussian[0])
    queries = bank[:TEST].contiguous()
    name, search = flat_index(bank, k)
    with threadpoolctl.threadpool_limits(1):
        side_by_side(
            benchmark,
            lambda: nearest(queries, bank, k),
            lambda: search(queries),
            what=f"`knn`, {k} neighbours of 10,000 among 50,000, against {name}",
            goal="at most 1.3",
            rounds=3,
            warm_up=False,
        )


def flat_index(bank: torch.Tensor, k: int) -> tuple[str, Callable[[torch.Tensor], Any]]:
    """Return the name and the search of faiss's flat index, or of a product and `topk` without it."""
    if importlib.util.find_spec("faiss") is None:
        return "a product and `topk`", lambda q: [
            (part @ bank.T).topk(k, sorted=False) for part in q.split(256)
        ]
    faiss = importlib.import_module("faiss")
    faiss.omp_set_num_threads(1)
    index = faiss.IndexFlatIP(bank.shape[1])
    index.add(bank.numpy())
    return "faiss's IndexFlatIP", lambda q: index.search(q.numpy(), k)


@pytest.fixture(scope="module")
def whole(task: Task) -> list[float]:
    """Return the seconds of each of four evaluators of features that are there."""
    task.shared.clear()
    return [spent(lambda cls=cls: cls(cls.Config()).evaluate(task)) for cls in EVERY]


@pytest.mark.parametrize("stem", SAMPLES)
def test_against_feature_passes(benchmark: Any, whole: list[float], stem: str) -> None:
    """Evaluate features that are there, and pass 60,000 images of 32 pixels through resnet18 twice."""
    backbone = resnet(stem)
    pass_s = benchmark.pedantic(lambda: feature_pass(backbone, SAMPLES[stem]), rounds=1)
    what = f"four evaluators of 60,000 cached features, against two passes for them of {NETWORK.format(stem)}"
    say(benchmark, what=what, goal="at most 1", value=sum(whole) / (2 * pass_s))
    benchmark.extra_info["shares"] = [round(one / (2 * pass_s), 3) for one in whole]


@pytest.mark.parametrize("stem", SAMPLES)
def test_against_the_usual_probe(benchmark: Any, whole: list[float], stem: str) -> None:
    """Pass the images once and evaluate, and train a linear layer for 90 epochs behind resnet18."""
    backbone, count = resnet(stem), SAMPLES[stem]
    step = sgd_steps(backbone, torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8))
    step()
    usual = EPOCHS * ROWS / count * benchmark.pedantic(lambda: spent(step), rounds=1)
    ours = sum(whole) + feature_pass(backbone, count)
    what = f"speed of a pass and four evaluators, against 90 epochs behind the frozen {NETWORK.format(stem)}"
    say(benchmark, what=what, goal="at least 50", value=usual / ours)


def evaluated(cls: Any, task: Task) -> None:
    """Evaluate with nothing left by another evaluator."""
    task.shared.clear()
    cls(cls.Config()).evaluate(task)


def sgd_steps(backbone: torch.nn.Module, pixels: torch.Tensor) -> Callable[[], None]:
    """Return an epoch over the images: a pass in float32 and a step of a linear layer for each batch."""
    layer = torch.nn.Linear(DIM, CLASSES)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)
    labels = torch.arange(len(pixels)) % CLASSES

    def run() -> None:
        for part, wanted in zip(pixels.split(BATCH), labels.split(BATCH), strict=True):
            with torch.no_grad():
                h = backbone(normalise(part / 255, (0.5,) * 3, (0.25,) * 3))
            loss = torch.nn.functional.cross_entropy(layer(h), wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return run


def resnet(stem: str) -> torch.nn.Module:
    """Return a frozen resnet18 with timm's own stem or the one for small images."""
    torch.set_num_threads(1)
    backbones: Any = Registry.load().load_class("backbones", "resnet18")
    backbone = (
        backbones("resnet18", backbones.Config(stem=stem), 3, 32).eval().requires_grad_(requires_grad=False)
    )
    return backbone.to(memory_format=torch.channels_last)


def feature_pass(backbone: torch.nn.Module, count: int) -> float:
    """Return the seconds for the features of all images: of some, after as many to warm up."""
    pixels = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8)
    given = {"image_size": 32, "channels": 3, "mean": (0.5,) * 3, "std": (0.25,) * 3, "device": CPU}
    for _ in extract(backbone, pixels, **given):
        pass
    return (ROWS + TEST) / count * spent(lambda: list(extract(backbone, pixels, **given)))


def spent(work: Callable[[], Any]) -> float:
    """Return the processor's seconds that `work` takes."""
    started = time.process_time()
    work()
    return time.process_time() - started

"""The vote against its formula, in one piece and in blocks."""

from __future__ import annotations

import math
from dataclasses import asdict

import pytest
import torch
from bench_plugins.evaluators.knn import KNN
from torch import Tensor

from bench.api import BadValue, Features, Scores, Task
from bench.errors import CellError

CLASSES = tuple("abcdefgh")


def made(train: int = 300, test: int = 40, dim: int = 8, seed: int = 0) -> Task:
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(len(CLASSES), dim, generator=generator)

    def draw(n: int) -> Features:
        y = torch.randint(len(CLASSES), (n,), generator=generator)
        return Features(centres[y] + torch.randn(n, dim, generator=generator), y)

    return task(draw(train), draw(test))


def task(train: Features, test: Features) -> Task:
    device = torch.device("cpu")
    return Task(train=train, test=test, folds=(), classes=CLASSES, seed=0, device=device)


def run(of: Task, **values: float) -> Scores:
    scores: Scores = KNN(KNN.Config(**values)).evaluate(of)
    return scores


def votes_in_loops(of: Task, k: int, temperature: float) -> list[list[float]]:
    rows = []
    for x in of.test.x.double():
        cosine = [float(x @ b / x.norm() / b.norm()) for b in of.train.x.double()]
        votes = [0.0] * len(CLASSES)
        for i in sorted(range(len(cosine)), key=lambda i: -cosine[i])[:k]:
            votes[int(of.train.y[i])] += math.exp(cosine[i] / temperature)
        rows.append(votes)
    return rows


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.07), (20, 0.07), (200, 0.1), (300, 0.5)])
def test_the_vote_is_the_formula(k: int, temperature: float) -> None:
    of = made()
    rows = votes_in_loops(of, k, temperature)
    scores = run(of, k=k, temperature=temperature)
    ranks = [sorted(range(8), key=lambda c: -row[c])[:5] for row in rows]
    hits = [row[y] > 0 and y in rank for row, rank, y in zip(rows, ranks, of.test.y.tolist(), strict=True)]

    assert scores.predictions.tolist() == [rank[0] for rank in ranks]
    assert scores.metrics["top5"] == pytest.approx(100 * sum(hits) / len(hits))


def test_a_cold_vote_is_the_nearest_neighbours() -> None:
    of = made()

    assert run(of, k=20, temperature=1e-4).predictions.equal(run(of, k=1).predictions)


def test_scaling_rows_changes_nothing() -> None:
    of = made()
    scale = 10 ** torch.linspace(-25, 25, 300)[:, None]
    scaled = task(Features(of.train.x * scale, of.train.y), Features(of.test.x * 7, of.test.y))

    assert run(scaled).predictions.equal(run(of).predictions)


def test_rotating_features_changes_nothing() -> None:
    of = made()
    rotation, _ = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(1)))
    turned = task(Features(of.train.x @ rotation, of.train.y), Features(of.test.x @ rotation, of.test.y))

    assert run(turned).predictions.equal(run(of).predictions)


def test_a_row_of_zeros_is_alike_to_nothing() -> None:
    of = made()
    of.train.x[:50], of.test.x[0] = 0, 0
    scores = run(of)

    assert scores.predictions[0] == of.train.y[:20].bincount(minlength=8).argmax()


def test_a_class_without_a_vote_is_not_among_the_first_five() -> None:
    train = Features(torch.eye(2), torch.tensor([6, 7]))
    scores = run(task(train, Features(torch.ones(8, 2), torch.arange(8))))

    assert scores.metrics["top5"] == 25
    assert scores.per_class["recall"][:6] == [0.0] * 6


def test_a_small_bank_lowers_the_default_k_and_refuses_a_larger_one() -> None:
    assert run(made(train=7)).protocol["k"] == 7
    assert run(made()).protocol["k"] == 20
    KNN(KNN.Config(k=50)).check(50, 8)
    with pytest.raises(BadValue) as caught:
        KNN(KNN.Config(k=200)).check(50, 8)

    message = "knn: k is 200, but there are 50 training features. Set knn.k to at most 50."
    assert str(caught.value) == message


def test_votes_are_not_called_probabilities() -> None:
    scores = run(made())

    assert set(scores.metrics) == {"top1", "top5", "balanced_accuracy"}
    assert scores.confidence is None


def test_test_labels_do_not_change_predictions() -> None:
    of = made()
    other = task(of.train, Features(of.test.x, of.test.y.roll(1)))

    assert run(other).predictions.equal(run(of).predictions)


@pytest.mark.parametrize("part", ["train", "test"])
def test_features_that_are_not_numbers_are_refused(part: str) -> None:
    of = made()
    x: Tensor = getattr(of, part).x
    x[3] = torch.nan

    with pytest.raises(CellError, match=f"knn: the {part}"):
        run(of)


def test_the_defaults_are_those_that_are_documented() -> None:
    assert asdict(KNN.Config()) == {"blocks": 0, "pool": "class", "k": None, "temperature": 0.07}

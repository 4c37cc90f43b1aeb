"""What is watched during training, against plain loops, and what a sample is made of."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.contracts.dataset import Images
from bench.contracts.dataset_info import DatasetInfo
from bench.contracts.method import Batch
from bench.metrics.collapse import embedding_std, rankme
from bench.metrics.retrieval import contrastive_monitors, positive_ranks
from bench.pretraining.online_knn import (
    COST,
    PASSES,
    KnnSample,
    eval_mode,
    knn_interval,
    knn_monitors,
    sample_for_knn,
)
from bench.registry.registry import Registry


def pair(n: int, noise: float = 1.5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(n)
    a = torch.randn(n, 6, generator=generator)
    return a, 3 * a + noise * 3 * torch.randn(n, 6, generator=generator)


def ranks_in_loops(a: Tensor, b: Tensor) -> list[int]:
    """Return one plus the number of other views that are nearer than the positive."""
    views, ranks = torch.cat([a, b]).double().tolist(), []
    for i, one in enumerate(views):
        twin = (i + len(a)) % len(views)
        nearer = [k for k in range(len(views)) if k != i and cosine(one, views[k]) > cosine(one, views[twin])]
        ranks.append(1 + len(nearer))
    return ranks


def cosine(x: list[float], y: list[float]) -> float:
    product = sum(p * q for p, q in zip(x, y, strict=True))
    return product / math.hypot(*x) / math.hypot(*y)


def images(labels: list[int], side: int = 2) -> Images:
    """Return images that are told apart by their pixels, which are their place."""
    places = torch.arange(len(labels)).view(-1, 1, 1, 1).expand(-1, 1, side, side)
    return Images((places % 256).to(torch.uint8), torch.tensor(labels))


# ---- the positive among the other views


@pytest.mark.parametrize("n", [1, 2, 30, 150])
def test_the_rank_of_the_positive_is_that_of_plain_loops(n: int) -> None:
    assert positive_ranks(*pair(n)).tolist() == ranks_in_loops(*pair(n))


def test_the_monitors_are_shares_and_the_mean_of_the_ranks() -> None:
    ranks = ranks_in_loops(*pair(40))
    found = {name: float(value) for name, value in contrastive_monitors(*pair(40)).items()}

    assert list(found) == ["contrastive_top1", "contrastive_top5", "positive_rank"]
    assert 0 < found["contrastive_top1"] < found["contrastive_top5"] < 100
    assert found["contrastive_top1"] == pytest.approx(100 * sum(rank == 1 for rank in ranks) / 80)
    assert found["contrastive_top5"] == pytest.approx(100 * sum(rank <= 5 for rank in ranks) / 80)
    assert found["positive_rank"] == pytest.approx(sum(ranks) / 80)


def test_views_that_agree_are_all_found() -> None:
    a, _ = pair(20)
    found = contrastive_monitors(a, 2 * a)

    assert [float(value) for value in found.values()] == [100, 100, 1]


def test_collapsed_embeddings_find_their_positive_by_chance_only() -> None:
    found = contrastive_monitors(torch.ones(50, 4), torch.ones(50, 4))

    assert [float(value) for value in found.values()] == [0, 0, 50]


@pytest.mark.parametrize("name", ["simclr", "vicreg"])
def test_both_methods_with_two_embeddings_log_it(name: str) -> None:
    cls: Any = Registry.load().load_class("methods", name)
    data = DatasetInfo(classes=("a", "b"), channels=3, size=8)
    method = cls(nn.Identity(), 6, cls.Config(embedding_dim=8), data)
    a, b = pair(40)
    found = method.monitors({"a": a, "b": b}, Batch(torch.arange(40), torch.zeros(40)))

    assert found == contrastive_monitors(a, b)


# ---- the sample


def test_queries_are_training_images_that_are_not_in_the_bank() -> None:
    labels = [0] * 150 + [1] * 50
    sample = sample_for_knn(images(labels))
    assert sample is not None
    bank, queries = (set(part.pixels[:, 0, 0, 0].tolist()) for part in (sample.bank, sample.queries))

    assert (len(bank), len(queries)) == (160, 40)
    assert bank | queries == set(range(200))
    assert sample.queries.labels.bincount().tolist() == [30, 10]
    assert sample.bank.labels.tolist() == [labels[int(pixels[0, 0, 0])] for pixels in sample.bank.pixels]


def test_queries_are_of_the_validation_split_where_there_is_one() -> None:
    train, val = images([0, 1] * 40, side=2), images([0, 1] * 10, side=3)
    sample = sample_for_knn(train, val)
    assert sample is not None

    assert (len(sample.bank), sample.bank.pixels.shape[-1]) == (80, 2)
    assert (len(sample.queries), sample.queries.pixels.shape[-1]) == (20, 3)


@pytest.mark.parametrize("labels", [[-1] * 10, [-1, 0]])
def test_a_validation_split_without_labels_is_not_asked(labels: list[int]) -> None:
    sample = sample_for_knn(images([0, 1] * 40), images(labels, side=3))
    assert sample is not None

    assert sample.queries.pixels.shape[-1] == 2


@pytest.mark.parametrize("val", [None, images([0, 1] * 2000)])
def test_a_sample_is_small_and_stratified_however_many_images_there_are(val: Images | None) -> None:
    sample = sample_for_knn(images([0] * 6000 + [1] * 2000 + [2] * 2), val)
    assert sample is not None

    assert (len(sample.bank), len(sample.queries), len(sample)) == (2000, 500, 2500)
    assert sample.bank.labels.bincount()[:2].tolist() == pytest.approx([1500, 500], abs=2)


def test_the_sample_is_always_the_same_one() -> None:
    one, again = (sample_for_knn(images([0, 1, 2] * 1500)) for _ in range(2))
    assert one is not None
    assert again is not None

    assert one.bank.pixels.equal(again.bank.pixels)
    assert one.queries.pixels.equal(again.queries.pixels)


def test_images_without_a_label_are_in_no_sample() -> None:
    sample = sample_for_knn(images([-1, 0, -1, 1] * 10))
    assert sample is not None

    assert len(sample) == 20
    assert int(sample.bank.labels.min()) == int(sample.queries.labels.min()) == 0


@pytest.mark.parametrize("labels", [[-1] * 20, [3] * 20, [-1, 3] * 10, [0, 1] * 4])
def test_where_there_is_too_little_to_tell_apart_there_is_no_sample(labels: list[int]) -> None:
    assert sample_for_knn(images(labels), images([0, 1])) is None


def test_ten_images_of_two_classes_are_a_bank_and_two_queries() -> None:
    sample = sample_for_knn(images([0, 1] * 5))
    assert sample is not None

    assert (len(sample.bank), len(sample.queries)) == (8, 2)


# ---- the vote


@pytest.mark.parametrize(("sample", "count", "views"), [(2500, 50_000, 2), (2500, 1437, 2), (7, 40, 1)])
def test_the_interval_is_the_shortest_that_keeps_the_cost(sample: int, count: int, views: int) -> None:
    every = knn_interval(sample, count, views)
    shares = [sample / (epochs * count * views * PASSES) for epochs in (every, every - 1) if epochs]

    assert shares[0] <= COST
    assert all(one <= COST < other for one, other in pairwise(shares))


def test_a_vote_is_that_of_plain_loops() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(5, (120,), generator=generator)
    x = torch.randn(5, 4, generator=generator)[labels] + torch.randn(120, 4, generator=generator)
    shown = images(labels.tolist())
    sample = KnnSample(shown.take(torch.arange(90)), shown.take(torch.arange(90, 120)))
    found = knn_monitors(sample, lambda pixels: x[pixels[:, 0, 0, 0].long()])
    right = 0
    for query in range(90, 120):
        near = sorted((-cosine(x[query].tolist(), x[i].tolist()), i) for i in range(90))[:20]
        votes = [sum(math.exp(-s / 0.07) for s, i in near if labels[i] == c) for c in range(5)]
        right += votes.index(max(votes)) == labels[query]

    assert 0 < right < 30
    assert float(found["online_knn_top1"]) == pytest.approx(100 * right / 30)
    assert float(found["h_std"]) == float(embedding_std(x[90:]))
    assert float(found["h_rankme"]) == float(rankme(x[90:]))


@pytest.mark.parametrize("broken", [torch.nan, torch.inf])
def test_features_that_are_not_finite_have_no_score_but_stop_nothing(broken: float) -> None:
    sample = sample_for_knn(images([0, 1] * 10))
    assert sample is not None
    found = knn_monitors(sample, lambda pixels: torch.full((len(pixels), 4), broken))

    assert all(math.isnan(value) for value in found.values())


def test_every_module_gets_its_own_mode_back() -> None:
    network = nn.Sequential(nn.BatchNorm1d(2), nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2)))
    network[1][1].eval()
    with eval_mode(network):
        inside = [module.training for module in network.modules()]

    assert not any(inside)
    assert [module.training for module in network.modules()] == [True, True, True, True, False]


def test_a_run_is_watched_on_its_own_training_images(lab: Any) -> None:
    (cell,) = lab.plan(method="simclr", settings={"method.hidden_dim": 16, "method.embedding_dim": 8})
    lab.run([cell])
    text = (lab.artifact(cell.keys.backbone) / "metrics.jsonl").read_text()
    first, last = (json.loads(line) for line in text.splitlines())

    assert "online_knn_top1" not in first
    assert last["online_knn_top1"] in [pytest.approx(100 * right / 9) for right in range(10)]  # of 48: 9

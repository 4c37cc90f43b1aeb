"""A kNN vote on labelled images while a backbone trains; it changes no weight and no draw."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from bench.contracts.dataset import Images
from bench.metrics.collapse import embedding_std, rankme
from bench.metrics.neighbours import nearest, unit_rows, votes
from bench.splits.order import Index
from bench.splits.stratified import stratified_order

BANK, QUERIES = 2000, 500  # our choice: of 50,000 images, a twentieth of a pass
ONE_IN = 5  # labelled training images is a query at most, where there is no validation split; our choice
K, TEMPERATURE = 20, 0.07  # DINO, eval_knn.py
COST = 0.02  # of the training's compute, at most, in the long run
PASSES = 3  # what a training step costs in forward passes: the backward pass counts as two
SEED = 0  # of the sample: runs that differ in their seed are compared on the same images


@dataclass(frozen=True)
class KnnSample:
    """The labelled images that are classified during training.

    Args:
        bank: whose labels vote.
        queries: whose labels are predicted.
    """

    bank: Images
    queries: Images

    def __len__(self) -> int:
        return len(self.bank) + len(self.queries)


def sample_for_knn(train: Images, val: Images | None = None) -> KnnSample | None:
    """Return stratified samples, always the same ones: the bank of `train`, the queries of `val`.

    Without a `val` that has labels, the queries are training images that are not in the bank. They are drawn
    by image even where images are in groups: the vote tells one moment of a training from another, and
    nothing is chosen by it or compared with a score.

    Args:
        train: the training split; images without a label are left out.
        val: the data's own validation split, if it has one.

    Returns:
        None where the labelled training images have fewer than two classes, or are fewer than ten.
    """
    labels = train.labels[train.labels >= 0]
    if len(labels.unique()) < 2 or len(labels) < 2 * ONE_IN:
        return None
    rows = _order_in_proportion(train)
    if val is not None and int((val.labels >= 0).sum()) > 1:
        return KnnSample(_take(train, rows[:BANK]), _take(val, _order_in_proportion(val)[:QUERIES]))
    count = min(QUERIES, len(rows) // ONE_IN)
    return KnnSample(_take(train, rows[count : count + BANK]), _take(train, rows[:count]))


def _order_in_proportion(images: Images) -> Index:
    """Return the labelled images in an order of which every stretch has each class in proportion."""
    orders = list(stratified_order(images.labels.cpu().numpy(), SEED, "online_knn").values())
    shares = [(np.arange(len(order)) + 0.5) / len(order) for order in orders]
    return np.concatenate(orders)[np.argsort(np.concatenate(shares), kind="stable")]


def _take(images: Images, rows: Index) -> Images:
    return images.take(torch.from_numpy(np.sort(rows)).to(images.pixels.device))


def knn_interval(sample: int, images: int, views: float) -> int:
    """Return after how many epochs to classify, so that it takes 2 % of the training's compute.

    It is a function of counts, not of a clock: the same run logs the same lines anywhere.

    Args:
        sample: images of the sample; each is one forward pass.
        images: training images an epoch.
        views: of each, more than 0; one of another size than the run's counts by its area.
    """
    return max(1, math.ceil(sample / (COST * images * views * PASSES)))


def knn_monitors(sample: KnnSample, features: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    """Return how many queries the bank classifies rightly, and the signs of collapse of the features.

    Args:
        sample: what is classified.
        features: maps pixels (n, channels, h, w), uint8, to features (n, dim), float32.

    Returns:
        `online_knn_top1` in percent, `h_std` and `h_rankme` of the queries; nan where a feature is not
        finite.
    """
    bank, queries = features(sample.bank.pixels), features(sample.queries.pixels)
    if not (torch.isfinite(bank).all() and torch.isfinite(queries).all()):
        return dict.fromkeys(("online_knn_top1", "h_std", "h_rankme"), torch.tensor(torch.nan))
    known, expected = sample.bank.labels.to(bank.device), sample.queries.labels.to(bank.device)
    near, index = nearest(unit_rows(queries), unit_rows(bank), min(K, len(bank)))
    predicted = votes(near, known[index], int(known.max()) + 1, TEMPERATURE).argmax(1)
    top1 = 100 * (predicted == expected).float().mean()
    return {"online_knn_top1": top1, "h_std": embedding_std(queries), "h_rankme": rankme(queries)}


@contextlib.contextmanager
def eval_mode(network: nn.Module) -> Iterator[None]:
    """Put a network into eval mode for a while; each of its modules then gets its own mode back."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode

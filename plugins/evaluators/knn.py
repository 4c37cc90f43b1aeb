"""Classify by the nearest training features: a readout without anything to train.

Wu 2018, "Unsupervised feature learning via non-parametric instance discrimination",
https://arxiv.org/abs/1805.01978, section 3.4. Code followed: facebookresearch/dino eval_knn.py.

    score_c(x) = sum over the k nearest i of exp(cos(x, x_i) / T) [y_i = c]

Differs from the paper: k and T are DINO's (20 and 0.07; the paper: 200 and 0.07).
Differs from the code: the bank is the clean training images, all of them; of equally near
neighbours the earlier is taken; a class without a vote is never among the first five.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.api import BadValue, Evaluator, Scores, Task, classification_scores, setting

from .refusals import refuse_broken

DEFAULT_K = 20  # DINO, eval_knn.py: "20 is usually working the best"
ROWS, BANK = 256, 65_536  # a block of similarities: 64 MB


class KNN(Evaluator):
    """Weighted k-nearest-neighbour vote by cosine similarity."""

    reference: ClassVar[str] = "Wu 2018, https://arxiv.org/abs/1805.01978"

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """What changes the vote."""

        k: int | None = setting(
            None, "neighbours; none is 20, or all where there are fewer", source="DINO, eval_knn.py", least=1
        )
        temperature: float = setting(0.07, "of the vote's weights", source="Wu 2018, section 3.4", above=0)

    config: Config

    def check(self, labelled: int, classes: int) -> None:
        """Refuse more neighbours than there are."""
        k = self.config.k
        if k is not None and k > labelled:
            found = f"there are {labelled} training features"
            raise BadValue(f"knn: k is {k}, but {found}. Set knn.k to at most {labelled}.")

    def evaluate(self, task: Task) -> Scores:
        """Let the training rows vote on the test rows."""
        self.check(len(task.train), len(task.classes))
        refuse_broken("knn", task)
        k = self.config.k or min(DEFAULT_K, len(task.train))
        bank = unit_rows(task.train.x.to(task.device))
        queries = unit_rows(task.test.x.to(task.device))
        near, index = nearest(queries, bank, k)
        labels = task.train.y.to(task.device)[index]
        scores = votes(near, labels, len(task.classes), self.config.temperature).cpu()
        metrics, per_class = classification_scores(scores, task.test.y.cpu(), probabilities=False)
        return Scores(
            metrics=metrics,
            predictions=scores.argmax(1),
            per_class=per_class,
            protocol={
                "features": "frozen",
                "selected": "nothing",
                "similarity": "cosine",
                "bank": len(task.train),
                "k": k,
                "temperature": self.config.temperature,
            },
        )


def unit_rows(x: Tensor) -> Tensor:
    """Return (n, dim) features at length one; a row of zeros stays one, alike to nothing."""
    largest = x.abs().amax(1, keepdim=True)
    return F.normalize(x / torch.where(largest > 0, largest, 1.0))  # squares of 1e-30 would vanish


def votes(near: Tensor, labels: Tensor, classes: int, temperature: float) -> Tensor:
    """Return what each class got of the neighbours' votes.

    Args:
        near: (n, k), the neighbours' similarities.
        labels: (n, k), int64, their classes.
        classes: number of classes.
        temperature: exp(similarity / temperature) is a neighbour's weight.

    Returns:
        (n, classes), up to a positive factor a row; -inf for a class without a vote.
    """
    weights = ((near - near.amax(1, keepdim=True)) / temperature).exp()  # exp(1 / 0.01) overflows
    sums = near.new_zeros(len(near), classes).scatter_add_(1, labels, weights)
    return sums.masked_fill(sums == 0, -torch.inf)


def nearest(
    queries: Tensor, bank: Tensor, k: int, rows: int = ROWS, bank_rows: int = BANK
) -> tuple[Tensor, Tensor]:
    """Return the k most similar rows of the bank; of equal ones the earlier.

    Args:
        queries: (n, dim), unit rows.
        bank: (m, dim), unit rows.
        k: at most m.
        rows: queries at a time.
        bank_rows: rows of the bank at a time.

    Returns:
        Similarities and indices, each (n, k), in the order of the bank.
    """
    found = [_nearest_of_block(block, bank, k, bank_rows) for block in queries.split(rows)]
    near, index = zip(*found, strict=True)
    return torch.cat(near), torch.cat(index)


def _nearest_of_block(queries: Tensor, bank: Tensor, k: int, bank_rows: int) -> tuple[Tensor, Tensor]:
    near, index = queries.new_empty(len(queries), 0), queries.new_empty(len(queries), 0, dtype=torch.long)
    for start in range(0, len(bank), bank_rows):
        similarity = queries @ bank[start : start + bank_rows].T
        pick = first_largest(similarity, min(k, similarity.shape[1]))
        near = torch.cat((near, similarity.gather(1, pick)), 1)
        index = torch.cat((index, pick + start), 1)
        pick = first_largest(near, min(k, near.shape[1]))
        near, index = near.gather(1, pick), index.gather(1, pick)
    return near, index


def first_largest(values: Tensor, k: int) -> Tensor:
    """Return the places of the k largest values of each row, ascending; of equal ones the first.

    `topk` alone leaves open which of equal values it takes, and devices differ in it.

    Args:
        values: (n, m).
        k: at most m.

    Returns:
        (n, k), int64.
    """
    if k == values.shape[1]:
        return torch.arange(k, device=values.device).expand(len(values), k)
    top, places = values.topk(k + 1)
    tied = (top[:, k - 1] == top[:, k]).nonzero()[:, 0]
    places = places[:, :k].sort(1).values
    if len(tied):
        row, least = values[tied], top[tied, k - 1 : k]
        above, equal = row > least, row == least
        missing = k - above.sum(1, keepdim=True)
        kept = above | (equal & (equal.cumsum(1) <= missing))
        places[tied] = kept.nonzero()[:, 1].view(len(tied), k)
    return places

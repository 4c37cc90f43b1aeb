"""Each metric against plain loops or scikit-learn."""

from __future__ import annotations

import math

import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, log_loss, recall_score

from bench.errors import CellError
from bench.metrics.classification import (
    balanced_accuracy,
    classification_scores,
    ece,
    nll,
    per_class_recall,
    require_finite,
    topk_accuracy,
)


def made(n: int = 200, classes: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(n, classes, generator=generator)
    return logits, torch.randint(classes, (n,), generator=generator)


@pytest.mark.parametrize("k", [1, 3, 7])
def test_topk_accuracy_is_a_count(k: int) -> None:
    logits, labels = made()
    order = logits.argsort(1, descending=True)[:, :k].tolist()
    expected = sum(y in first for y, first in zip(labels.tolist(), order, strict=True)) / 200

    assert topk_accuracy(logits, labels, k) == pytest.approx(100 * expected)


def test_top1_counts_rows_and_balanced_accuracy_counts_classes() -> None:
    labels = torch.tensor([0] * 9 + [1])
    logits = torch.tensor([[1.0, 0.0]]).expand(10, 2)
    metrics, _ = classification_scores(logits, labels, probabilities=False)

    assert metrics == {"top1": 90.0, "balanced_accuracy": 50.0}


def test_equal_logits_do_not_count_as_right() -> None:
    labels = torch.arange(10)

    assert topk_accuracy(torch.zeros(10, 10), labels, 1) == 10
    assert topk_accuracy(torch.zeros(10, 10), labels, 5) == 50
    assert topk_accuracy(torch.full((10, 10), -torch.inf), labels, 5) == 0


@pytest.mark.parametrize("k", [0, 8])
def test_k_outside_the_classes_is_refused(k: int) -> None:
    with pytest.raises(ValueError, match=f"k is {k}, but there are 7 classes"):
        topk_accuracy(*made(), k)


def test_recall_is_scikit_learns() -> None:
    logits, labels = made()
    predictions = logits.argmax(1)
    recall = per_class_recall(predictions, labels, 7)

    assert (recall / 100).tolist() == pytest.approx(recall_score(labels, predictions, average=None))
    assert balanced_accuracy(predictions, labels, 7) == pytest.approx(
        100 * balanced_accuracy_score(labels, predictions)
    )


def test_a_class_without_rows_is_left_out_of_balanced_accuracy() -> None:
    labels, predictions = torch.tensor([0, 0, 1]), torch.tensor([0, 2, 1])

    assert math.isnan(per_class_recall(predictions, labels, 3)[2])
    assert balanced_accuracy(predictions, labels, 3) == 75


def test_nll_is_scikit_learns() -> None:
    logits, labels = made()
    expected = log_loss(labels, logits.double().softmax(1).numpy(), labels=range(7))

    assert nll(logits, labels) == pytest.approx(expected)
    assert nll(logits + 1000, labels) == pytest.approx(expected, rel=1e-4)


def test_ece_is_the_formula() -> None:
    logits, labels = made()
    confidence, predictions = logits.double().softmax(1).max(1)
    expected = 0.0
    for b in range(15):
        inside = [i for i in range(200) if b / 15 < confidence[i] <= (b + 1) / 15]
        if inside:
            accuracy = sum(float(predictions[i] == labels[i]) for i in inside) / len(inside)
            mean = sum(float(confidence[i]) for i in inside) / len(inside)
            expected += 100 * len(inside) / 200 * abs(accuracy - mean)

    assert ece(logits, labels) == pytest.approx(expected)


def test_full_confidence_is_calibrated_when_always_right() -> None:
    labels = torch.arange(3)

    assert ece(1000 * torch.eye(3), labels) == 0
    assert ece(1000 * torch.eye(3), labels.roll(1)) == 100


def test_scores_have_top5_and_likelihood_only_where_they_mean_something() -> None:
    six, labels = made(classes=6)

    assert set(classification_scores(six, labels, probabilities=True)[0]) == {
        "top1", "top5", "balanced_accuracy", "nll", "ece",
    }  # fmt: skip
    assert set(classification_scores(six[:, :5], labels % 5, probabilities=False)[0]) == {
        "top1",
        "balanced_accuracy",
    }
    assert len(classification_scores(six, labels, probabilities=True)[1]["recall"]) == 6


def test_features_that_are_not_numbers_are_refused() -> None:
    x = torch.ones(5, 2)
    x[1, 0], x[3] = torch.nan, torch.inf

    with pytest.raises(CellError, match=r"^here: 2 of 5 rows are infinite or not a number\."):
        require_finite(x, "here")


def test_a_confidence_at_the_edge_of_two_bins_is_in_the_lower_one() -> None:
    """As in the authors' code, gpleiss/temperature_scaling: above the lower edge, at most the upper one."""
    logits = torch.tensor([[0.0, 0.0], [math.log(0.4), math.log(0.6)]], dtype=torch.float64)  # 0.5 and 0.6

    assert ece(logits, torch.tensor([0, 0]), bins=2) == pytest.approx(100 * (0.5 + 0.6) / 2)


@pytest.mark.parametrize("bins", [1, 2, 4, 10, 15])
def test_ece_is_the_authors_code_at_every_edge(bins: int) -> None:
    edges = torch.arange(1, bins + 1, dtype=torch.float64) / bins
    confidence = torch.cat((edges, edges - 1e-9, edges + 1e-9)).clamp(0.5, 1 - 1e-12)
    logits = torch.stack((confidence, 1 - confidence), 1).log()
    labels = (torch.arange(len(logits)) % 3 == 0).long()
    p, predictions = logits.softmax(1).max(1)
    expected = 0.0
    for b in range(bins):
        inside = p.gt(b / bins) & p.le((b + 1) / bins)
        if inside.any():
            accuracy = (predictions == labels)[inside].double().mean()
            expected += 100 * float(inside.double().mean() * (p[inside].mean() - accuracy).abs())

    assert ece(logits, labels, bins) == pytest.approx(expected)

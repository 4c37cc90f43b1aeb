"""What is measured of a classifier's answers. Shares are in percent, likelihoods in nats."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.errors import CellError
from bench.metrics.calibration import BINS

TOP = 5
BLOCK = 4_096  # rows that are looked at, at a time


def require_finite(x: Tensor, where: str) -> None:
    """Refuse features that are not numbers: every score of them would be meaningless.

    Args:
        x: (n, dim).
        where: what the error starts with, e.g. `knn: the test features`.

    Raises:
        CellError: a value is infinite or not a number.
    """
    bad = sum(int((~torch.isfinite(part)).any(dim=1).sum()) for part in x.split(BLOCK))
    if bad:
        raise CellError(
            f"{where}: {bad} of {len(x)} rows are infinite or not a number. "
            "Look for a loss that diverged, or use --precision float32."
        )


def topk_accuracy(logits: Tensor, labels: Tensor, k: int) -> float:
    """Return the share of rows whose label is among the k largest logits, in percent.

    Every row counts alike (micro average). Of equal logits the lower class ranks first, as in
    `argmax`; a label whose logit is -inf is missed, however many classes share that fate.

    Args:
        logits: (n, classes), any real scale.
        labels: (n,), int64, in [0, classes).
        k: at least 1, at most classes.

    Raises:
        ValueError: k is not in [1, classes].
    """
    classes = logits.shape[1]
    if not 1 <= k <= classes:
        raise ValueError(f"topk_accuracy: k is {k}, but there are {classes} classes.")
    own = logits.gather(1, labels[:, None])
    lower = torch.arange(classes, device=logits.device) < labels[:, None]
    rank = ((logits > own) | ((logits == own) & lower)).sum(1)
    return _percent((rank < k) & (own[:, 0] > -torch.inf))


def per_class_recall(predictions: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return the share of each class's rows that are predicted as it, in percent.

    Args:
        predictions: (n,), int64, in [0, classes).
        labels: (n,), int64, in [0, classes).
        classes: number of classes.

    Returns:
        (classes,), float64, nan for a class without a row.
    """
    rows = torch.bincount(labels, minlength=classes)
    right = torch.bincount(labels[predictions == labels], minlength=classes)
    return 100 * right.cpu().double() / rows.cpu().double()


def balanced_accuracy(predictions: Tensor, labels: Tensor, classes: int) -> float:
    """Return the mean recall over the classes that have a row, in percent (macro average)."""
    return float(per_class_recall(predictions, labels, classes).nanmean())


def nll(logits: Tensor, labels: Tensor) -> float:
    """Return the mean negative log-likelihood of the labels, in nats.

    Args:
        logits: (n, classes), log-probabilities up to a constant a row.
        labels: (n,), int64.
    """
    return float(F.cross_entropy(logits.cpu().double(), labels.cpu()))


def ece(logits: Tensor, labels: Tensor, bins: int = BINS) -> float:
    """Return the expected calibration error, in percent.

    It is sum_b n_b / n * |accuracy_b - confidence_b| over equal-width bins (lower, upper] of the
    confidence in the predicted class.

    Args:
        logits: (n, classes), log-probabilities up to a constant a row.
        labels: (n,), int64.
        bins: number of bins.

    Source: Guo 2017, section 2, equation 3.
    """
    confidence, predictions = logits.cpu().double().softmax(1).max(1)
    bin_of = (confidence * bins).ceil().long().clamp(1, bins) - 1
    gap = (predictions == labels.cpu()).double() - confidence
    sums = torch.zeros(bins, dtype=gap.dtype).index_add_(0, bin_of, gap)
    return 100 * float(sums.abs().sum()) / len(labels)


def classification_scores(
    logits: Tensor, labels: Tensor, *, probabilities: bool
) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Return what every evaluator reports, ready for `Scores.metrics` and `Scores.per_class`.

    Args:
        logits: (n, classes), larger for a likelier class; -inf where nothing speaks for it.
        labels: (n,), int64, in [0, classes).
        probabilities: the logits are log-probabilities up to a constant a row, so that likelihood
            and calibration mean something.

    Returns:
        Metrics by name (`top5` where there are more than 5 classes, `nll` and `ece` of
        probabilities) and the recall of each class, nan for a class without a row.
    """
    classes = logits.shape[1]
    predictions = logits.argmax(1)
    metrics = {"top1": topk_accuracy(logits, labels, 1)}
    if classes > TOP:
        metrics["top5"] = topk_accuracy(logits, labels, TOP)
    metrics["balanced_accuracy"] = balanced_accuracy(predictions, labels, classes)
    if probabilities:
        metrics |= {"nll": nll(logits, labels), "ece": ece(logits, labels)}
    return metrics, {"recall": per_class_recall(predictions, labels, classes).tolist()}


def _percent(right: Tensor) -> float:
    return 100 * int(right.sum()) / len(right)

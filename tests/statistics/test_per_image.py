"""What an image counts for has the metric as its mean, and the metric's variance."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from bench.statistics.per_image import mark_right, weigh_by_class

LABELS = np.array([0] * 50 + [2] * 7 + [3] * 43, np.int32)  # class 1 has no image


def predict(draw: np.random.Generator) -> np.ndarray:
    chances = np.array([0.9, 0.0, 0.3, 0.6])[LABELS]
    return np.where(draw.random(len(LABELS)) < chances, LABELS, (LABELS + 1) % 4).astype(np.int32)


def test_the_means_are_the_metrics() -> None:
    predicted = predict(np.random.default_rng(0))

    assert mark_right(LABELS, predicted).mean() == pytest.approx(accuracy_score(LABELS, predicted))
    with pytest.warns(UserWarning, match="y_pred contains classes not in y_true"):
        expected = balanced_accuracy_score(LABELS, predicted)
    assert weigh_by_class(LABELS, predicted).mean() == pytest.approx(expected)


def test_the_variance_is_that_of_the_balanced_accuracy_over_test_sets() -> None:
    draw = np.random.default_rng(0)
    values = np.stack([weigh_by_class(LABELS, predict(draw)) for _ in range(3000)])

    assert values.var(1).mean() / len(LABELS) == pytest.approx(values.mean(1).var(), rel=0.1)

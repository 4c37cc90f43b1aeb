"""Give each test image a value whose mean over the images is a metric, to tell apart what varies."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def mark_right(labels: NDArray[np.int32], predicted: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return 1 where the prediction is right and 0 elsewhere: the mean is the accuracy.

    Args:
        labels: (n,), of each image.
        predicted: (n,), the class that was predicted.
    """
    return np.asarray(labels == predicted, np.float64)


def weigh_by_class(labels: NDArray[np.int32], predicted: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return values whose mean is the balanced accuracy, and whose variance is n times that of its estimate.

    An image of class c adds n / (classes n_c) of what it is above the recall of its class: the influence of
    an image on the mean recall, in which how many images a class has makes no difference (Hampel 1974).

    Args:
        labels: (n,), of each image, at least 0.
        predicted: (n,), the class that was predicted.
    """
    right = mark_right(labels, predicted)
    counts = np.bincount(labels)
    recall = np.bincount(labels, weights=right) / np.maximum(counts, 1)
    there = counts > 0
    weights = len(labels) / (there.sum() * counts[labels])
    return np.asarray(recall[there].mean() + weights * (right - recall[labels]))

"""From logits to scores, alike for every classifier whose logits are log-probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from bench.api import Scores, Task, classification_scores


def classified(logits: Tensor, task: Task, protocol: Mapping[str, Any]) -> Scores:
    """Return the scores of predicted test rows.

    Args:
        logits: (n, classes), on the CPU, log-probabilities up to a constant a row.
        task: whose test rows they are of.
        protocol: for the record.
    """
    metrics, per_class = classification_scores(logits, task.test.y.cpu(), probabilities=True)
    confidence, predictions = logits.softmax(1).max(1)
    return Scores(
        metrics=metrics,
        predictions=predictions,
        confidence=confidence.float(),
        per_class=per_class,
        protocol=protocol,
    )

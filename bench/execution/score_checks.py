"""Refuse what is no result: scores that are missing or not finite."""

from __future__ import annotations

import math

from bench.contracts.evaluator import Scores
from bench.errors import CellError


def refuse_no_score(evaluator: str, scores: Scores) -> None:
    """Refuse scores by which nothing can be compared.

    A metric of which neither more nor less is better may be undefined, such as one of features that have
    collapsed, but for the headline.

    Args:
        evaluator: its name.
        scores: that it returned.

    Raises:
        CellError: there is no metric, or one is not a finite number.
    """
    if not scores.metrics:
        raise CellError(f"{evaluator}: it returned no metric. Return at least one, the headline first.")
    headline = next(iter(scores.metrics))
    for name, value in scores.metrics.items():
        must_be = name == headline or scores.direction(name) is not None
        if must_be and not math.isfinite(value):
            raise CellError(
                f"{evaluator}: {name} is {float(value)}, which is no score. Look at the training with "
                "`bench report`; where others have the same, report it to the evaluator's authors."
            )

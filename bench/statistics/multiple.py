"""Say what is left of a p where many comparisons are made.

Source: Holm 1979.
"""

from __future__ import annotations

from collections.abc import Sequence


def adjust_by_holm(p_values: Sequence[float], family: int | None = None) -> list[float]:
    """Return the level at which Holm rejects each hypothesis.

    Args:
        p_values: those that are known.
        family: how many hypotheses there are; none is as many as are given. Of the others no p is known: each
            is taken to come after those that are, which rejects none that Holm over the whole would not.
    """
    family = len(p_values) if family is None else family
    adjusted = [1.0] * len(p_values)
    least = 0.0
    for done, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        least = max(least, min(1.0, p_values[index] * (family - done)))
        adjusted[index] = least
    return adjusted


def count_pairs(cells: int) -> int:
    """Return how many comparisons there are among some cells, of which the best is seen only in the data."""
    return cells * (cells - 1) // 2

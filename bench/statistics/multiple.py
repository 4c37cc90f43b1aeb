"""Adjust p values for the number of comparisons that are made together.

Source: Holm 1979.
"""

from __future__ import annotations

from collections.abc import Sequence


def adjust_by_holm(p_values: Sequence[float]) -> list[float]:
    """Return each p as Holm adjusts it: at most a level where the comparison is significant at that level.

    Args:
        p_values: of all comparisons that are made together.
    """
    adjusted, largest = [1.0] * len(p_values), 0.0
    for done, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - done) * p_values[index]))
        adjusted[index] = largest
    return adjusted

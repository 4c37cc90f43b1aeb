"""Draw a long curve with few points, without losing its peaks."""

from __future__ import annotations

from collections.abc import Sequence

Point = tuple[float, float]


def thin(points: Sequence[Point], most: int) -> list[int]:
    """Return which points to keep, by ascending place: the first, the last, and those that stand out most.

    Args:
        points: x and y, by ascending x.
        most: how many are kept, at least 2.

    Source: Steinarsson 2013, Downsampling time series for visual representation: largest triangle three
        buckets.
    """
    if len(points) <= most:
        return list(range(len(points)))
    kept, width = [0], (len(points) - 2) / max(1, most - 2)
    for bucket in range(most - 2):
        start, end = 1 + int(bucket * width), 1 + int((bucket + 1) * width)
        after = points[end : 1 + int((bucket + 2) * width)] or points[-1:]
        ahead = (sum(x for x, _ in after) / len(after), sum(y for _, y in after) / len(after))
        kept.append(max(range(start, end), key=lambda at: _area(points[kept[-1]], points[at], ahead)))
    return [*kept, len(points) - 1]


def _area(a: Point, b: Point, c: Point) -> float:
    """Return twice the area of a triangle."""
    return abs((a[0] - c[0]) * (b[1] - a[1]) - (a[0] - b[0]) * (c[1] - a[1]))

"""Place values along an axis, and choose where it has ticks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

TICKS = 5  # about as many on an axis
MARGIN = 0.04  # of the range, free on either side of the values
GAP = 70  # units between 0 and the least other value on a log axis
MOST_DECADES = 6  # that each have a tick
PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


@dataclass(frozen=True)
class Scale:
    """An axis from `low` to `high` on the units from `start` to `end`.

    Args:
        low: the value at `start`, or after the gap where the axis has a zero of its own.
        high: the value at `end`.
        start: in units of the drawing.
        end: in units of the drawing.
        is_log: it is logarithmic; `low` is then positive.
        gap: units that lie between a zero at `start` and `low`; none without a zero.
    """

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False
    gap: float = 0.0

    def place(self, value: float) -> int:
        """Return where a value lies, in whole units."""
        if self.gap and value <= 0:
            return round(self.start)
        start = self.start + self.gap
        low, high, at = (
            (math.log10(v) for v in (self.low, self.high, value))
            if self.is_log
            else (self.low, self.high, value)
        )
        return round(start + (at - low) / (high - low) * (self.end - start))

    def ticks(self) -> list[float]:
        """Return values to write beside the axis, all of them on it."""
        if not self.is_log:
            return list_round(self.low, self.high)
        ticks = list_powers(self.low, self.high)
        return [0.0, *ticks] if self.gap else ticks


def fit_scale(values: Iterable[float], start: float, end: float, *, is_log: bool = False) -> Scale:
    """Return a scale that holds all values, with a little room.

    A log axis places zeros by themselves, before all else.

    Args:
        values: finite; at least one. On a log axis none is negative.
        start: in units of the drawing.
        end: in units of the drawing.
        is_log: make it logarithmic, if any value is positive.
    """
    known = list(values)
    if is_log and any(value > 0 for value in known):
        positive = [value for value in known if value > 0]
        least, most = math.log10(min(positive)), math.log10(max(positive))
        room = (most - least) * MARGIN or 0.3
        gap = math.copysign(GAP, end - start) if len(positive) < len(known) else 0.0
        return Scale(10 ** (least - room), 10 ** (most + room), start, end, is_log=True, gap=gap)
    least, most = min(known), max(known)
    room = (most - least) * MARGIN or abs(most) * 0.1 or 1.0
    low = 0.0 if 0 <= least < room else least - room
    return Scale(low, most + room, start, end)


def list_round(low: float, high: float) -> list[float]:
    """Return about five round values from `low` to `high`."""
    rough = (high - low) / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def list_powers(low: float, high: float) -> list[float]:
    """Return powers of ten from `low` to `high`; where these are few, 2 and 5 times them, or round values."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    skip = max(1, math.ceil((last - first) / MOST_DECADES))
    for factors in ((1,), (1, 2, 5)):
        ticks = [
            f * 10.0**p for p in range(first, last + 1, skip) for f in factors if low <= f * 10.0**p <= high
        ]
        if len(ticks) > 2:
            return ticks
    return [tick for tick in list_round(low, high) if tick > 0]


def shorten(value: float, near: Sequence[float] = ()) -> str:
    """Return a number as a tick says it: `20`, `1.5k`, `3M`, `2e-05`.

    Args:
        value: the number.
        near: the ticks it stands among: it gets the digits that tell it from them.
    """
    size = max((abs(tick) for tick in near), default=abs(value))
    is_even = not any(0 < abs(tick) < 1 for tick in near)
    divisor, prefix = next(((d, p) for d, p in PREFIXES if abs(value) >= d and is_even), (1.0, ""))
    digits = 3 if size < 1e4 or prefix else 6
    for count in range(digits, 8):
        texts = [f"{tick / divisor:.{count}g}" for tick in near]
        if len(set(texts)) == len(texts):
            return f"{value / divisor:.{count}g}{prefix}"
    return f"{value / divisor:.{digits}g}{prefix}"

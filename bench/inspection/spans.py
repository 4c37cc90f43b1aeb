"""Seconds that something takes: at least, likely and at most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from bench.system.progress import duration


@dataclass(frozen=True)
class Span:
    """Seconds that something takes: at least, likely and at most; and how many things are not in it.

    Args:
        low: at least.
        likely: in between.
        high: at most.
        unknown: things that could not be timed.
    """

    low: float = 0.0
    likely: float = 0.0
    high: float = 0.0
    unknown: int = 0

    def __add__(self, other: Span) -> Span:
        """Return what both take, one after the other."""
        return Span(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(Span)))

    def times(self, factor: float) -> Span:
        """Return so many times the seconds."""
        return replace(self, low=self.low * factor, likely=self.likely * factor, high=self.high * factor)

    def __str__(self) -> str:
        """Return it in words, with its ends where they are said otherwise."""
        low, likely, high = map(duration, (self.low, self.likely, self.high))
        text = likely if low == high else f"{likely} ({low} to {high})"
        return f"{text}, and {self.unknown} that could not be timed" if self.unknown else text


UNKNOWN = Span(unknown=1)


@dataclass(frozen=True)
class Sample:
    """What a part of some work took.

    Args:
        span: seconds of the part.
        share: of the whole work, above 0; more than 1 is a multiple of it.
    """

    span: Span
    share: float


def span_of(seconds: Sequence[float]) -> Span:
    """Return the span of several measurements of the same."""
    ordered = sorted(seconds)
    return Span(ordered[0], ordered[len(ordered) // 2], ordered[-1])


def span_of_whole(few: Sample, many: Sample) -> Span:
    """Return what the whole takes, from two parts of it.

    In between is what it takes at the pace of the larger part. At one end is the pace of the smaller part, on
    which the beginning weighs most, at the other that of what is more in the larger, on which it does not.
    """
    if few.span.unknown or many.span.unknown:
        return UNKNOWN
    paces = [sample.span.likely / sample.share for sample in (few, many)]
    more = many.share - few.share
    added = (many.span.likely - few.span.likely) / more if more > 0 else 0.0
    ends = sorted([*paces, added] if added > 0 else paces)
    return Span(ends[0], paces[1], ends[-1])

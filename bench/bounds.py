"""How large numbers may be that are set or recorded: all of them can be computed with."""

from __future__ import annotations

from typing import Any, TypeGuard

LARGEST = 3.4e38  # of a number that is finite: what single precision holds
WHOLE = 1 << 63  # whole numbers are below it: what 64 bits hold
MOST_DECIMALS = 12  # of a number in a table


def is_number(value: Any) -> TypeGuard[float]:
    """Tell whether a value, which may be anything, is a number that can be computed with; nan is none."""
    return isinstance(value, (int, float)) and abs(value) <= LARGEST

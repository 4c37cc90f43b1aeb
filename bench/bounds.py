"""How large numbers may be that are set or recorded: all of them can be computed with."""

from __future__ import annotations

LARGEST = 3.4e38  # of a number that is finite: what single precision holds
WHOLE = 1 << 63  # whole numbers are below it: what 64 bits hold

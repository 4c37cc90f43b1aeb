"""Take back the directions that older records give to metrics of which neither more nor less is better.

A record of schema 1 had to say of each metric which way is better. The evaluators that came with bench have
since taken it back of these, and a new record says null.
"""

from __future__ import annotations

from typing import Any

WITHDRAWN = frozenset({
    "rankme", "alpha_req", "lidar", "alignment", "uniformity", "nesum", "feature_std", "correlation",
    "nonlinear_gap",
})  # fmt: skip
DEVIATION = ("top1_at_", "_std")  # how the name of a deviation over draws of labels starts and ends


def withdraw_directions(record: dict[str, Any]) -> None:
    """Set `higher_is_better` to none in the metrics of a record whose direction was withdrawn, in place."""
    start, end = DEVIATION
    for name, metric in (record.get("metrics") or {}).items():
        if name in WITHDRAWN or (name.startswith(start) and name.endswith(end)):
            metric["higher_is_better"] = None

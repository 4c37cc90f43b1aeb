"""Make records of methods on several data sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from made_records import make

REFERENCES = {"random": 20.0, "supervised": 90.0}


def grid(
    methods: dict[str, float], datasets: int, seeds: Sequence[int] = (0, 1), *, references: bool = True
) -> list[dict[str, Any]]:
    """Return records of each method on each data set; a method's scores are its own plus what the set adds.

    Args:
        methods: the score of each, to which data sets and seeds add a little.
        datasets: how many there are: `d0`, `d1`, ...
        seeds: of each.
        references: add those of `REFERENCES`.
    """
    everything = {**(REFERENCES if references else {}), **methods}
    return [
        make(
            method,
            value + 0.5 * number + 0.125 * seed,
            dataset=f"d{number}",
            eval_dataset=f"d{number}",
            seed=seed,
        )
        for method, value in everything.items()
        for number in range(datasets)
        for seed in seeds
    ]

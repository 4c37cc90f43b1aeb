"""Find what a score is normalised between: a floor and a ceiling of each data set, by two methods."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from bench.reporting.blocks import Block, Entrant
from bench.reporting.captions import join_words

Scales = dict[str, dict[Entrant, tuple[float, float]]]  # floor and ceiling, by data set and entrant


def find_scales(
    block: Block, entrants: Sequence[Entrant], references: tuple[str, str] | None
) -> tuple[Scales, list[str]]:
    """Return floor and ceiling of each entrant on each data set that has them, and why others do not.

    Args:
        block: complete.
        entrants: of the block; the references are of the same backbone.
        references: the methods at 0 and at 1; none where nothing is normalised.
    """
    if references is None:
        return {}, ["Scores are not normalised: no references were asked for"]
    scales: Scales = {}
    lacking: dict[str, list[str]] = defaultdict(list)
    for name in block.datasets:
        found: dict[Entrant, tuple[float, float]] = {}
        reason = ""
        for one in entrants:
            floor, ceiling = (_find_reference(block, one, method, name) for method in references)
            if floor is None or ceiling is None:
                reason = f"no one score of {references[floor is not None]} there"
            elif (ceiling > floor) is not block.higher_is_better or ceiling == floor:
                reason = f"{references[1]} is no better than {references[0]} there"
            else:
                found[one] = floor, ceiling
        if reason:
            lacking[reason].append(name)
        else:
            scales[name] = found
    remarks = []
    between = f"{references[0]} (0) and {references[1]} (1), each at its mean"
    if scales:
        remarks.append(f"IQM, profiles: scores between {between}")
    for reason, names in lacking.items():
        remarks.append(f"Not normalised, and so in no IQM: {join_words(names)} ({reason})")
    return scales, remarks


def _find_reference(block: Block, entrant: Entrant, method: str, dataset: str) -> float | None:
    """Return the mean of a method on a data set with the backbone of an entrant; none where it is not one.

    Where there are several, say of two lengths, it is the one that has all else in common with the entrant.
    """
    fits = {one: values for (one, name), values in block.references.items()
            if name == dataset and one.method == method and one.network == entrant.network}  # fmt: skip
    if len(fits) > 1:
        own = dict(entrant.values)
        fits = {one: values for one, values in fits.items()
                if all(own.get(axis) == value for axis, value in one.values if axis != "method")}  # fmt: skip
    return float(np.mean(next(iter(fits.values())))) if len(fits) == 1 else None

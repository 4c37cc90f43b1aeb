"""Many comparisons are corrected as Holm has it, also where only those with the best are known."""

from __future__ import annotations

import itertools
import math

import pytest
from statsmodels.stats.multitest import multipletests

from bench.statistics.multiple import adjust_by_holm, count_pairs
from bench.statistics.parts import LEVEL


def reject(p_values: list[float]) -> list[bool]:
    """Tell which cells are worse than the best, by the p of each."""
    return [p <= LEVEL for p in adjust_by_holm(p_values, count_pairs(len(p_values) + 1))]


@pytest.mark.parametrize("p_values", [[0.01, 0.04, 0.03], [0.2, 0.2, 0.001, 0.9], [0.05], [0.02, 0.02]])
def test_holm_is_that_of_statsmodels(p_values: list[float]) -> None:
    assert adjust_by_holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])


def test_holm_counts_every_pair_of_cells_and_steps_down() -> None:
    pairs = 3  # of three cells
    least = LEVEL / pairs

    assert reject([least, LEVEL / (pairs - 1)]) == [True, True]
    assert reject([LEVEL / (pairs - 1), least]) == [True, True]
    assert reject([least, math.nextafter(LEVEL / (pairs - 1), 1)]) == [True, False]
    assert reject([least + 1e-9, least + 1e-9]) == [False, False]
    assert reject([LEVEL]) == [True]
    assert reject([]) == []


def test_what_is_rejected_is_rejected_by_holm_over_all_pairs_too() -> None:
    own = [0.004, 0.001, 0.02]
    for others in itertools.product((1e-5, 0.003, 0.9), repeat=3):
        of_all = adjust_by_holm([*own, *others])

        assert all(p <= LEVEL for p, is_rejected in zip(of_all, reject(own), strict=False) if is_rejected)

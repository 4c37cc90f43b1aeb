"""A difference is held against the parts of its variance, each with its own freedom."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import stdtrit
from scipy.stats import norm, t, ttest_1samp
from statsmodels.stats.weightstats import ttest_ind

from bench.statistics.parts import LEAST_P, LEVEL, Part, find_half_width, find_p


def test_one_part_is_students_test() -> None:
    sample = [0.3, 1.2, 0.9, 2.0]
    part = Part(np.var(sample, ddof=1) / 4, 3)

    assert find_p(float(np.mean(sample)), [part]) == pytest.approx(ttest_1samp(sample, 0).pvalue, rel=1e-6)
    assert find_p(2.0, [Part(1.0, math.inf)]) == pytest.approx(2 * norm.sf(2.0), rel=1e-6)


def test_several_parts_add_up_by_the_square_of_their_own_quantiles() -> None:
    parts = [Part(0.5, 1), Part(0.2, 4), Part(0.1, math.inf)]
    expected = sum(
        q**2 * v for q, v in ((t.ppf(0.975, 1), 0.5), (t.ppf(0.975, 4), 0.2), (norm.ppf(0.975), 0.1))
    )

    assert find_half_width(parts) == pytest.approx(math.sqrt(expected))


@pytest.mark.parametrize("level", [0.5, 0.05, 1e-3, 1e-12])
def test_p_is_the_level_at_which_the_interval_ends_at_zero(level: float) -> None:
    parts = [Part(0.5, 2), Part(0.2, 4), Part(0.1, 9999)]

    assert find_p(find_half_width(parts, level), parts) == pytest.approx(level, rel=1e-6)
    assert find_p(-find_half_width(parts, level), parts) == pytest.approx(level, rel=1e-6)


def test_p_has_its_ends() -> None:
    assert find_p(0.0, [Part(0.0, 2)]) == 1.0
    assert find_p(1.0, [Part(0.0, 2)]) == LEAST_P
    assert find_p(1e-9, [Part(1.0, 2)]) == pytest.approx(1.0)


def test_a_p_is_never_below_that_of_welch() -> None:
    draw = np.random.default_rng(0)
    for seeds in (2, 3, 5):
        for one, other in draw.normal(0, 1, (50, 2, seeds)) * [[[1], [3]]]:
            parts = [Part(sample.var(ddof=1) / seeds, seeds - 1) for sample in (one, other)]
            welch = ttest_ind(one, other, usevar="unequal")[1]

            assert find_p(one.mean() - other.mean(), parts) >= welch - 1e-9


@pytest.mark.parametrize(("seeds", "other_seeds"), [(2, 2), (3, 3), (5, 5), (2, 5)])
@pytest.mark.parametrize("ratio", [1, 3, 10])
@pytest.mark.parametrize("images", [0.0, 0.4])
def test_the_level_is_kept_whatever_the_variances_are(
    seeds: int, other_seeds: int, ratio: float, images: float
) -> None:
    draw, tries = np.random.default_rng(0), 40_000
    one = draw.normal(0, ratio, (tries, seeds))
    other = draw.normal(0, 1, (tries, other_seeds))
    image_variance = images * (ratio**2 / seeds + 1 / other_seeds)
    difference = one.mean(1) - other.mean(1) + draw.normal(0, math.sqrt(image_variance), tries)
    reach = (
        stdtrit(seeds - 1, 0.975) ** 2 * one.var(1, ddof=1) / seeds
        + stdtrit(other_seeds - 1, 0.975) ** 2 * other.var(1, ddof=1) / other_seeds
        + norm.ppf(0.975) ** 2 * image_variance
    )
    first = [
        Part(one[0].var(ddof=1) / seeds, seeds - 1),
        Part(other[0].var(ddof=1) / other_seeds, other_seeds - 1),
    ]

    assert find_half_width([*first, Part(image_variance, math.inf)]) == pytest.approx(math.sqrt(reach[0]))
    assert 0 < (difference**2 > reach).mean() < LEVEL + 0.003

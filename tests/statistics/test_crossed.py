"""Seeds and images are told apart as by an analysis of variance, and what is made of it keeps its level."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.stats import norm
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from bench.statistics.crossed import judge, split_difference, split_mean
from bench.statistics.intervals import bound_share
from bench.statistics.parts import LEVEL, find_half_width, find_p

Values = NDArray[np.float64]


def draw_seeds(
    draw: np.random.Generator, images: Values, seeds: int, spread: float, own: float = 0.0
) -> Values:
    """Return which images each seed of a method gets right, (seeds, images), half of them on average.

    Args:
        draw: where chance is from.
        images: how easy each image is, the same for all methods.
        seeds: how many.
        spread: how much seeds differ.
        own: how much images differ for this method alone.
    """
    n = len(images)
    of_method, of_seed = draw.normal(0, own, n), draw.normal(0, spread, (seeds, 1))
    return (images + of_method + of_seed + draw.normal(0, 1, (seeds, n)) > 0).astype(np.float64)


def test_the_parts_are_those_of_an_analysis_of_variance() -> None:
    draw = np.random.default_rng(0)
    values = draw.normal(0, 1, (3, 8)) + draw.normal(0, 2, 8) + draw.normal(0, 0.5, (3, 1))
    seeds, images = np.indices(values.shape)
    data = pd.DataFrame({"y": values.ravel(), "seed": seeds.ravel(), "image": images.ravel()})
    squares = anova_lm(ols("y ~ C(seed) + C(image)", data).fit())["mean_sq"]
    of_seeds, of_images = split_mean(judge(values))
    total = (squares["C(seed)"] + squares["C(image)"] - squares["Residual"]) / values.size

    assert judge(values).residual == pytest.approx(squares["Residual"])
    assert of_seeds == pytest.approx((squares["C(seed)"] / values.size, 2))
    assert of_seeds.variance + of_images.variance == pytest.approx(total, rel=1e-5)


def test_what_all_methods_find_hard_is_in_an_interval_and_not_in_a_difference() -> None:
    draw = np.random.default_rng(0)
    images = draw.normal(0, 10, 2000)
    one, other = (judge(draw_seeds(draw, images, 3, 0.0)) for _ in range(2))

    assert split_difference(one, other)[-1].variance < 0.1 * split_mean(one)[-1].variance


def test_one_seed_has_the_variance_of_its_images_alone() -> None:
    right = (np.arange(100) < 30).astype(np.float64)[None]
    (part,) = split_mean(judge(right))

    assert part == pytest.approx((right.var(ddof=1) / 100, 99))


def test_one_image_has_no_variance_of_images() -> None:
    assert split_mean(judge(np.array([[1.0], [0.0]]))) == [(0.25, 1), (0.0, 1)]


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize(
    ("spread", "other_spread", "own"), [(0.0, 0.0, 1.0), (0.3, 0.3, 0.1), (0.02, 0.2, 1.0)]
)
def test_methods_that_are_as_good_differ_in_at_most_one_of_twenty_grids(
    seeds: int, spread: float, other_spread: float, own: float
) -> None:
    draw, tries, found, missed = np.random.default_rng(0), 400, 0, 0
    for _ in range(tries):
        images = draw.normal(0, 1.5, 400)
        one = judge(draw_seeds(draw, images, seeds, spread, own))
        other = judge(draw_seeds(draw, images, seeds, other_spread, own))
        found += find_half_width(split_difference(one, other)) < abs(one.mean - other.mean)
        low, high = bound_share(one.mean, split_mean(one), 400)
        missed += not low <= 0.5 <= high

    assert found / tries <= LEVEL + 0.02  # two deviations of 400 tries
    assert missed / tries <= LEVEL + 0.02


def test_a_share_near_one_keeps_its_level() -> None:
    draw, tries, missed = np.random.default_rng(0), 400, 0
    truth = norm.sf(-4 / np.sqrt(1 + 1.5**2 + 0.3**2))
    for _ in range(tries):
        one = judge(draw_seeds(draw, 4 + draw.normal(0, 1.5, 300), 3, 0.3))
        low, high = bound_share(one.mean, split_mean(one), 300)
        missed += not low <= truth <= high

    assert missed / tries <= LEVEL + 0.02


def test_a_difference_that_is_there_is_found() -> None:
    draw = np.random.default_rng(0)
    images = draw.normal(0, 1.5, 2000)
    one, other = draw_seeds(draw, images + 0.3, 5, 0.05), draw_seeds(draw, images, 5, 0.05)
    parts = split_difference(judge(one), judge(other))

    assert find_p(float(one.mean() - other.mean()), parts) < 0.01

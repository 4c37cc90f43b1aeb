"""How many seeds settle a difference is how many it takes in trials."""

from __future__ import annotations

import math

import numpy as np
import pytest
from statsmodels.stats.power import NormalIndPower

from bench.statistics.parts import Part, find_half_width
from bench.statistics.power import POWER, count_images, count_seeds, find_power


@pytest.mark.parametrize(("difference", "images"), [(1.5, 0.0), (1.0, 0.02), (3.0, 0.1)])
def test_the_seeds_that_are_said_to_suffice_find_the_difference_in_four_of_five_trials(
    difference: float, images: float
) -> None:
    seeds = count_seeds(difference, (1.0, 0.5), Part(images, math.inf))
    draw, tries, found = np.random.default_rng(0), 2000, 0
    assert seeds is not None
    for _ in range(tries):
        one, other = draw.normal(0, 1, seeds), draw.normal(0, math.sqrt(0.5), seeds)
        seen = difference + one.mean() - other.mean() + draw.normal(0, math.sqrt(images))
        parts = [Part(sample.var(ddof=1) / seeds, seeds - 1) for sample in (one, other)]
        found += abs(seen) > find_half_width([*parts, Part(images, math.inf)])

    assert POWER - 0.05 < found / tries < POWER + 0.15


def test_no_number_of_seeds_makes_up_for_images() -> None:
    assert count_seeds(1.0, (0.01, 0.01), Part(0.2, math.inf)) is None
    assert count_seeds(1.0, (0.01, 0.01), Part(0.1, math.inf)) is not None


def test_the_power_over_many_images_is_that_of_a_z_test() -> None:
    n, variance = 50, 4.0  # of one image's difference
    power = NormalIndPower(ddof=0).power(0.8 / 2, n, 0.05, ratio=0)
    images = Part(variance / n, math.inf)

    assert find_power(0.8, [images]) == pytest.approx(power, abs=1e-3)
    assert find_power(0.8, [Part(variance / count_images(0.8, images, n), math.inf)]) == pytest.approx(
        POWER, abs=0.01
    )


def test_without_any_variance_a_difference_is_seen_and_none_is_not() -> None:
    assert find_power(1.0, [Part(0.0, 2)]) == 1.0
    assert find_power(0.0, [Part(0.0, 2)]) == 0.0

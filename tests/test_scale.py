"""What is said of grids that nobody has run is what a simulation gives that is right where one can count."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from simulate_scale import BACKBONE, BEAT, ENVIRONMENT, START, Site, simulate, table

PAGE = Path(__file__).parents[1] / "docs" / "scale.md"


def test_the_table_of_the_page_is_that_of_the_simulation() -> None:
    assert table() in PAGE.read_text(encoding="utf-8")


def test_one_worker_keeps_a_server_busy_for_as_long_as_its_operations_take() -> None:
    load = simulate(Site(workers=1, backbones=3, seconds=100.0, beats_per_s=0.0), rate=1000.0)

    assert load.busy == pytest.approx((START + 3 * BACKBONE) / 1000 / 300, rel=0.05)
    assert load.worst_s == pytest.approx(BACKBONE / 1000, rel=0.05)


def test_beats_alone_are_their_number_over_what_is_answered() -> None:
    site = Site(workers=10, backbones=10, seconds=10_000.0, starts_per_s=1e9, beats_per_s=5.0)

    assert simulate(site, rate=100.0).busy == pytest.approx(5 * BEAT / 100, rel=0.15)


def test_workers_that_start_at_once_wait_for_all_of_their_environments() -> None:
    site = Site(workers=100, backbones=100, starts_per_s=1e9, is_local=False, beats_per_s=0.0)
    load = simulate(site, rate=10_000.0)

    assert load.worst_s == pytest.approx(100 * (ENVIRONMENT + START) / 10_000, rel=0.05)


def test_a_server_that_is_asked_for_more_than_it_answers_never_ends() -> None:
    site = Site(workers=100, backbones=100, seconds=10.0, starts_per_s=1e9, beats_per_s=1000.0)

    assert math.isinf(simulate(site, rate=100.0).lost)

"""The Pareto front is what no other point beats, and costs are those of the records."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
from report_pages import Build, trained, untrained

from bench.report.costs import Offer, build_costs, find_front
from bench.reporting.formats.base import TableCell


def offer(cost: float, score: float, *, higher: bool = True) -> Offer:
    cell = TableCell(
        "", "top1", higher, score, None, {0: score}, "ok", (), {}, {}, best=False, on_diagonal=False
    )
    return Offer(f"{cost} {score}", cost, cell)


def beats(one: Offer, other: Offer) -> bool:
    sign = 1 if one.cell.higher_is_better else -1
    at_least = one.cost <= other.cost and sign * one.score >= sign * other.score
    return at_least and (one.cost, one.score) != (other.cost, other.score)


@pytest.mark.parametrize("higher", [True, False])
def test_the_front_is_every_point_that_no_other_beats(*, higher: bool) -> None:
    generator = random.Random(1)  # noqa: S311 - for a test
    for _ in range(200):
        offers = [offer(generator.randint(0, 5), generator.randint(0, 5), higher=higher) for _ in range(8)]
        front = find_front(offers)

        assert {id(one) for one in front} == {
            id(one) for one in offers if not any(beats(other, one) for other in offers)
        }
        assert all(a.cost <= b.cost for a, b in itertools.pairwise(front))


def records() -> list[dict[str, Any]]:
    cheap = trained("cheap", 60.0)
    dear = trained("dear", 80.0)
    dear["cost"] = {**dear["cost"], "seconds": {"pretrain": 600.0}, "params": 5000}
    worse = trained("worse", 55.0)
    worse["cost"] = dear["cost"]
    return [cheap, dear, worse, untrained(30.0)]


def test_each_cost_has_a_chart_with_its_front(build: Build) -> None:
    section = build_costs(*build(records()))
    by_cost = {choice["cost"]: name for name, choice in section.choices.items()}
    (figure,) = [one for one in section.figures if one.name == by_cost["seconds of training"]]

    assert len(section.figures) == 4
    assert {row[0]: (row[1], row[2], row[-1]) for row in figure.rows} == {
        "random": (0.0, 30.0, "yes"), "cheap": (60.0, 60.0, "yes"),
        "dear": (600.0, 80.0, "yes"), "worse": (600.0, 55.0, "no"),
    }  # fmt: skip


def test_what_is_not_trained_has_seen_no_image(build: Build) -> None:
    (figure,) = [
        one for one in build_costs(*build(records())).figures if one.name.startswith("cost-forward-passes")
    ]

    assert next(row[1] for row in figure.rows if row[0] == "random") == 0.0


def test_a_cost_that_no_record_says_is_named_and_left_out(build: Build) -> None:
    some = records()
    for record in some:
        record["cost"] = {"params": 1}
    section = build_costs(*build(some))

    assert {choice["cost"] for choice in section.choices.values()} <= {"parameters", "seconds of training"}
    assert any("operations" in note and note.startswith("No record says") for note in section.notes)


def test_records_without_costs_make_no_chart(build: Build) -> None:
    assert not build_costs(*build([trained(cost={}), trained("vicreg", cost={})])).figures

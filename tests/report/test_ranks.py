"""The page ranks methods over data sets where there are two or more, as `bench ranking` does."""

from __future__ import annotations

from typing import Any

import pytest
from report_pages import trained

from bench.report.ranks import MOST_SHOWN, build_ranks
from bench.report.results import Results
from bench.report.section import Section

METHODS = {"random": 20.0, "supervised": 90.0, "simclr": 70.0, "byol": 60.0}


def records(datasets: int, evaluators: tuple[str, ...] = ("knn",), **changes: Any) -> list[dict[str, Any]]:
    return [
        trained(method, value + 0.5 * number, dataset=f"d{number}", eval_dataset=f"d{number}",
                evaluator=evaluator, **changes)
        for method, value in METHODS.items()
        for number in range(datasets)
        for evaluator in evaluators
    ]  # fmt: skip


def section_of(some: list[dict[str, Any]]) -> Section:
    (section,) = build_ranks(Results((), tuple(some)))
    return section


def test_ranks_profiles_pairs_and_what_they_support_are_shown() -> None:
    section = section_of(records(3))

    assert [figure.name for figure in section.figures] == ["ranks", "profiles"]
    assert section.figures[0].rows == (("simclr", 1.0), ("byol", 2.0))
    assert "<td>byol</td><td>0.25</td>" in section.body
    assert "cannot tell any two methods apart" in section.body


def test_one_data_set_has_no_ranks() -> None:
    assert build_ranks(Results((), tuple(records(1)))) == []


def test_what_cannot_be_ranked_is_said_with_the_reason() -> None:
    lonely = [one for one in records(2) if one["cell"]["method"] in ("random", "simclr")]
    mixed = [*records(2), *records(2, protocol={"features": "finetuned", "probe": "offline"}, seed=1)]

    assert not section_of(lonely).figures
    assert "1 method to rank, and it takes two" in section_of(lonely).body
    assert section_of(mixed).notes[0].startswith("Not ranked: ")
    assert not section_of(mixed).figures


def test_a_failed_cell_is_left_out_by_name() -> None:
    some = records(3)
    some[-1] |= {"status": "failed", "metrics": None, "reason": "no"}

    assert section_of(some).figures
    assert "<li>d2 is left out: byol failed.</li>" in section_of(some).body


@pytest.mark.parametrize("count", [2, MOST_SHOWN + 2])
def test_several_questions_are_named_and_of_many_some_are_shown(count: int) -> None:
    section = section_of(records(2, tuple(f"e{number}" for number in range(count))))

    assert len(section.figures) == 2 * min(count, MOST_SHOWN)
    assert "Pairs: e0 / " in section.body
    assert (f"{count - MOST_SHOWN} more are printed by `bench ranking`." in section.notes) == (
        count > MOST_SHOWN
    )

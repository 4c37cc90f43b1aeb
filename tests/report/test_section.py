"""Figures are drawn while there is room, and what is left out is named and never drawn."""

from __future__ import annotations

from bench.report.figure import Figure
from bench.report.section import MOST_NAMED, NUMBER_LETTERS, Draft, Drawn, draw_within


def drafts(count: int, drawn: list[int]) -> list[Draft]:
    """Return drafts of figures of 100 letters and one number, which note that they are drawn."""

    def draw(number: int) -> Figure:
        drawn.append(number)
        return Figure(f"f{number}", f"F {number}", "", "x" * 100, ("n",), ((1,),))

    return [Draft(f"F {n}", lambda n=n: draw(n), {"of": str(n)}) for n in range(count)]  # type: ignore[misc]


def test_figures_are_drawn_until_the_letters_are_full_and_no_more() -> None:
    drawn: list[int] = []
    result = draw_within(drafts(9, drawn), 3 * (100 + NUMBER_LETTERS))

    assert [figure.name for figure in result.figures] == ["f0", "f1", "f2"]
    assert result.choices == {f"f{n}": {"of": str(n)} for n in range(3)}
    assert result.left_out == [f"F {n}" for n in range(3, 9)]
    assert drawn == [0, 1, 2, 3]


def test_a_draft_with_nothing_to_draw_takes_no_room_and_is_not_missed() -> None:
    result = draw_within([Draft("nothing", lambda: None), *drafts(1, [])], 1000)

    assert [figure.name for figure in result.figures] == ["f0"]
    assert result.describe_left_out("Do this.") == ""


def test_some_of_what_is_left_out_is_named_and_the_rest_counted() -> None:
    names = [f"F {n}" for n in range(MOST_NAMED + 2)]

    assert Drawn(left_out=names).describe_left_out("Do this.") == (
        f"Left out to keep the page small: {'; '.join(names[:MOST_NAMED])} and 2 more. Do this."
    )
    assert " more" not in Drawn(left_out=names[:2]).describe_left_out("Do this.")

"""`--where`: records are chosen by their values on any axis."""

from __future__ import annotations

from typing import Any

import pytest
from made_records import make, sweep

from bench.errors import BadValue, UnknownName, UsageError
from bench.reporting.selection import parse_conditions, select_records


def grid() -> list[dict[str, Any]]:
    return [
        make(method, label_frac=share, seed=seed)
        for method in ("simclr", "vicreg", "random")
        for share in (0.01, 0.1, 1.0)
        for seed in (0, 1)
    ]


def chosen(records: list[dict[str, Any]], *conditions: str) -> list[tuple[Any, ...]]:
    kept = select_records(records, parse_conditions(conditions))
    return [tuple(record["cell"][name] for name in ("method", "label_frac", "seed")) for record in kept]


def test_several_axes_must_all_hold_and_of_several_values_any() -> None:
    expected = [(method, 0.1, seed) for method in ("simclr", "vicreg") for seed in (0, 1)]

    assert chosen(grid(), "method=simclr|vicreg,label_frac=0.1") == expected
    assert chosen(grid(), "method=vicreg", "method=simclr", "label_frac=0.1") == expected
    assert chosen(grid(), " method = vicreg | simclr ", "label_frac=0.1") == expected


@pytest.mark.parametrize("text", ["0.1", "0.10", "1e-1", "10 %", "10%"])
def test_a_value_may_be_written_as_one_writes_it(text: str) -> None:
    assert {share for _, share, _ in chosen(grid(), f"label_frac={text}")} == {0.1}


def test_nothing_asked_for_leaves_everything() -> None:
    assert len(chosen(grid())) == len(grid())


def test_a_setting_is_an_axis_by_its_role_and_by_its_plugin() -> None:
    records = sweep("method.temperature", 0.1, 0.5)

    for name in ("method.temperature", "simclr.temperature"):
        (kept,) = select_records(records, parse_conditions([f"{name}=0.50"]))
        assert kept["settings"] == {"method.temperature": 0.5}


def test_a_setting_that_nobody_set_is_an_axis() -> None:
    records = [make("a", config={"training": {"epochs": n}}) for n in (10, 20)]
    (kept,) = select_records(records, parse_conditions(["train.epochs=20"]))

    assert kept["config"]["training"]["epochs"] == 20


def test_a_list_with_commas_is_one_value() -> None:
    records = sweep("views.ops", ("crop", "flip"), ("crop",))
    (kept,) = select_records(records, parse_conditions(["views.ops=crop,flip,seed=0"]))

    assert kept["settings"] == {"views.ops": ("crop", "flip")}


def test_a_name_may_have_a_bar() -> None:
    records = [make("c|d"), make("c"), make("d"), make("e")]

    assert [name for name, *_ in chosen(records, "method=c|d")] == ["c|d"]
    assert [name for name, *_ in chosen(records, "method=c|d|e")] == ["c", "d", "e"]


def test_true_is_no_one_and_null_is_null() -> None:
    records = sweep("method.flag", *(True, None))

    for text, value in (("true", True), ("null", None)):
        (kept,) = select_records(records, {"method.flag": (text,)})
        assert kept["settings"]["method.flag"] is value
    with pytest.raises(UnknownName, match=r"^--where: no record has method\.flag '1'\."):
        select_records(records, {"method.flag": ("1",)})


@pytest.mark.parametrize("text", ["method", "", "=simclr", "method=", "method=a|", "simclr,method=a"])
def test_what_is_no_condition_is_one_line(text: str) -> None:
    with pytest.raises(
        BadValue, match=r"^--where: .* is no condition\. Write AXIS=VALUE, e\.g\. method=simclr\.$"
    ):
        parse_conditions([text])


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("methd=simclr", r"^--where: no axis is named 'methd'\. Did you mean 'method'"),
        (
            "method=simcl",
            r"^--where: no record has method 'simcl'\. Did you mean 'simclr'\? Known: random, s",
        ),
        ("label_frac=0.2", r"^--where: no record has label_frac '0\.2'\. .*Known: 0\.01, 0\.1, 1\.$"),
        ("metric=top1", r"^--where: metric is no axis of records\. Choose metrics with --metric\.$"),
    ],
)
def test_an_unknown_axis_or_value_is_one_line_with_those_that_are_known(condition: str, message: str) -> None:
    with pytest.raises(UnknownName, match=message):
        chosen(grid(), condition)


def test_values_that_never_meet_are_one_line() -> None:
    records = [make("a", seed=0), make("b", seed=1)]

    with pytest.raises(UsageError, match=r"^--where: no record has method=a and seed=1 at once\. Leave one"):
        chosen(records, "method=a,seed=1")

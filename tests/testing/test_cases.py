"""The checks of the kit as tests of pytest's, and what is expected to fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import wrong_methods

from bench.api import BadData, BadValue, DataLocation, Dataset
from bench.testing import Case, check, check_method, parametrize_checks
from bench.testing.cases import list_cases
from bench.testing.checks import Check, Outcome, require, run, skip

TRAINED = "every parameter is trained, or frozen"
WHY = "its head is for later"
CALLED: list[str] = []


@parametrize_checks("method", wrong_methods.Unused, "unused", expected_failures={TRAINED: WHY})
def test_a_plugin_of_ones_own(check: Case) -> None:
    check()


def checks() -> Iterator[Check]:
    def note(title: str, body: Callable[[], None] = lambda: None) -> Check:
        def noted() -> None:
            CALLED.append(title)
            body()

        return title, noted

    yield note("right")
    yield note("wrong", lambda: require(holds=False, otherwise="it is wrong"))
    yield note("absent", lambda: skip("there is none"))


def cases(expected: dict[str, str] | None = None, *, listed: bool = True) -> dict[str, Case]:
    CALLED.clear()
    found = list_cases(checks() if listed else None, lambda: run(checks()), expected or {}, "it")
    return {case.name: case for case in found}


@pytest.mark.parametrize("listed", [True, False])
def test_a_check_passes_fails_or_is_skipped_as_a_test(*, listed: bool) -> None:
    found = cases(listed=listed)

    found["right"]()
    with pytest.raises(AssertionError, match=r"^wrong: it is wrong$"):
        found["wrong"]()
    with pytest.raises(pytest.skip.Exception, match="there is none"):
        found["absent"]()


def test_a_check_that_is_listed_runs_when_its_test_does() -> None:
    found = cases()

    assert CALLED == []
    found["right"]()
    assert CALLED == ["right"]


def test_an_expected_failure_is_one_with_its_reason() -> None:
    with pytest.raises(pytest.xfail.Exception, match=r"^we know \(it is wrong\)$"):
        cases({"wrong": "we know"})["wrong"]()


@pytest.mark.parametrize(("name", "state"), [("right", "ok"), ("absent", "skipped")])
def test_an_expected_failure_that_does_not_fail_is_an_error(name: str, state: str) -> None:
    with pytest.raises(AssertionError, match=rf"{name}: it was expected to fail \(we know\), and is {state}"):
        cases({name: "we know"})[name]()


def test_an_expected_failure_of_no_check_is_an_error() -> None:
    with pytest.raises(BadValue, match=r"it: no check is named 'wrongg'\. Did you mean 'wrong'"):
        cases({"wrongg": "we know"})


def test_a_suite_in_one_test_knows_expected_failures_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def outcomes(*_: Any, **__: Any) -> Iterator[Outcome]:
        return run(checks())

    monkeypatch.setitem(check.__globals__["_SUITES"], "methods", outcomes)
    plain = wrong_methods.Plain

    check_method(plain, "it", expected_failures={"wrong": "we know"})
    with pytest.raises(
        AssertionError, match=r"(?s)it fails 3 checks:\nright: it was expected to fail.*\nwrong: it"
    ):
        check_method(plain, "it", expected_failures={"right": "we think", "other": "there is none"})


def test_where_every_check_is_skipped_nothing_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = [Outcome("one", skipped="there are no files")]
    monkeypatch.setitem(check.__globals__["_SUITES"], "methods", lambda *_, **__: iter(outcomes))

    with pytest.raises(AssertionError, match="nothing was checked: every check was skipped"):
        check_method(wrong_methods.Plain, "it")


class Absent(Dataset):
    """Have its files somewhere."""

    def __init__(self, name: str, config: Any, location: DataLocation) -> None:
        raise BadData(f"{name}: there is nothing in {location.data_dir}.")

    info = labels = load = fingerprint = None  # type: ignore[assignment]


def test_a_dataset_whose_files_are_absent_says_that_they_were_not_looked_at() -> None:
    skipped = [outcome.skipped for outcome in check("dataset", Absent, "absent") if outcome.skipped]
    told = list(check("dataset", Absent, "absent", location=DataLocation(data_dir=Path("there"))))

    (why,) = skipped
    assert why.startswith("absent: there is nothing in data. Say where they are: --data-dir")
    assert not [outcome for outcome in told if outcome.skipped]
    assert "absent: there is nothing in there." in [outcome.error for outcome in told]


def test_a_kind_without_checks_is_refused() -> None:
    with pytest.raises(BadValue, match="no checks are there of the kind 'formats'"):
        check("formats", wrong_methods.Plain, "it")

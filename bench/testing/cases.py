"""Each check of a plugin as a test of pytest's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bench.errors import BadValue, suggest
from bench.testing.checks import Check, Outcome, run


@dataclass(frozen=True)
class Case:
    """A check that a test calls.

    Args:
        name: of the check.
        find: runs it, if it has not run, and returns what came of it.
        expected: why it fails; none where it is to pass.
    """

    name: str
    find: Callable[[], Outcome]
    expected: str | None = None

    def __call__(self) -> None:
        """Run the check as a test: it fails, is skipped or is an expected failure, with the reason.

        Raises:
            AssertionError: the check failed, or passed where it was expected to fail.
        """
        import pytest

        outcome = self.find()
        if self.expected is not None:
            if outcome.error is None:
                raise AssertionError(
                    f"{self.name}: it was expected to fail ({self.expected}), and is {outcome.state}. "
                    "Take it out of expected_failures."
                )
            pytest.xfail(f"{self.expected} ({outcome.error})")
        if outcome.error is not None:
            raise AssertionError(f"{self.name}: {outcome.error}")
        if outcome.skipped is not None:
            pytest.skip(outcome.skipped)


def list_cases(
    listed: Iterable[Check] | None,
    find_all: Callable[[], Iterator[Outcome]],
    expected: Mapping[str, str],
    name: str,
) -> list[Case]:
    """Return a case a check.

    Args:
        listed: the checks, which are run when their cases are; none where only running shows which there are.
        find_all: runs all of them.
        expected: why a check fails, by its name.
        name: of the plugin.

    Raises:
        BadValue: no check has the name of an expected failure.
    """
    cases = [*_list_later(listed, expected)] if listed is not None else [*_list_now(find_all(), expected)]
    names = [case.name for case in cases]
    for title in expected:
        if title not in names:
            raise BadValue(f"{name}: no check is named {title!r}.{suggest(title, names)}")
    return cases


def _list_later(checks: Iterable[Check], expected: Mapping[str, str]) -> Iterator[Case]:
    for title, body in checks:

        def find(title: str = title, body: Callable[[], None] = body) -> Outcome:
            return next(run([(title, body)]))

        yield Case(title, find, expected.get(title))


def _list_now(outcomes: Iterable[Outcome], expected: Mapping[str, str]) -> Iterator[Case]:
    for outcome in outcomes:

        def find(outcome: Outcome = outcome) -> Outcome:
            return outcome

        yield Case(outcome.name, find, expected.get(outcome.name))


def as_parameters(cases: Iterable[Case]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the decorator of pytest that gives a test each of the cases as `check`."""
    import pytest

    return pytest.mark.parametrize("check", [pytest.param(case, id=case.name) for case in cases])

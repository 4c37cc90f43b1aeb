"""Check a plugin the way the harness will use it.

    from bench.testing import parametrize_checks

    @parametrize_checks("methods", Alignment, "alignment")
    def test_alignment_keeps_the_contract(check):
        check()

Each check is then a test of its own. `check_method(Alignment, "alignment")` and its like raise one
AssertionError that names every check that failed; `check` yields what comes of them one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from bench.contracts.backbone import Backbone
from bench.contracts.dataset import DataLocation, Dataset
from bench.contracts.evaluator import Evaluator
from bench.contracts.executor import Executor
from bench.contracts.method import Method
from bench.errors import BadData, BadValue, suggest
from bench.registry.registry import find_meant
from bench.testing import backbones, datasets, evaluators, executors, methods
from bench.testing.cases import Case, as_parameters, list_cases
from bench.testing.checks import Outcome

__all__ = [
    "Case",
    "Outcome",
    "check",
    "check_backbone",
    "check_dataset",
    "check_evaluator",
    "check_executor",
    "check_method",
    "parametrize_checks",
]

_SUITES: dict[str, Callable[..., Iterator[Outcome]]] = {
    "methods": methods.outcomes,
    "backbones": backbones.outcomes,
    "datasets": datasets.outcomes,
    "evaluators": evaluators.outcomes,
    "executors": executors.outcomes,
}
_LISTED = {"methods": methods.list_checks}  # whose checks are known before one has run
Expected = Mapping[str, str]  # why a check fails, by its name


def check(kind: str, cls: type[Any], name: str, **options: Any) -> Iterator[Outcome]:
    """Run every check of a kind, and yield what comes of each: its name, its error, and why it was skipped.

    Args:
        kind: `methods`, `backbones`, `datasets`, `evaluators` or `executors`; of one, too.
        cls: the plugin class.
        name: the name it is asked for by; of a family, any member.
        options: `config` for all kinds, `location` for datasets, `networks` for methods.

    Raises:
        BadValue: there are no checks of this kind.
    """
    known = _find_kind(kind)
    outcomes = _SUITES[known](cls, name, **options)
    return _note_absence(outcomes, cls, name, **options) if known == "datasets" else outcomes


def _note_absence(
    outcomes: Iterator[Outcome],
    cls: type[Dataset],
    name: str,
    config: Any = None,
    location: DataLocation | None = None,
) -> Iterator[Outcome]:
    """Yield outcomes, and at last that the files of a dataset were not looked at, if they are not there."""
    yield from outcomes
    if location is None:
        try:
            cls(name, cls.Config() if config is None else config, DataLocation())
        except BadData as error:
            where = "Say where they are: --data-dir, --set dataset.root=DIR, or location=DataLocation(...)."
            yield Outcome("what is in its files is what it says", skipped=f"{error} {where}")
        except Exception:  # noqa: BLE001 - which a check has told
            return


def parametrize_checks(
    kind: str, cls: type[Any], name: str, *, expected_failures: Expected | None = None, **options: Any
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator of pytest that makes each check a test, which is given it as `check` and calls it.

    A method's checks run when their tests do, and only theirs; those of other kinds while pytest collects.

    Args:
        kind: as of `check`.
        cls: as of `check`.
        name: as of `check`.
        expected_failures: why a check fails, by its name. It is then an xfail with that reason, and an
            error where it passes.
        options: as of `check`.

    Raises:
        BadValue: no check has the name of an expected failure.
    """
    kind = _find_kind(kind)
    listed = _LISTED[kind](cls, name, **options) if kind in _LISTED else None
    cases = list_cases(listed, lambda: check(kind, cls, name, **options), expected_failures or {}, name)
    return as_parameters(cases)


def check_method(
    cls: type[Method], name: str, config: Any = None, *, expected_failures: Expected | None = None
) -> None:
    """Assert that a method keeps the contract.

    Args:
        cls: the method.
        name: its name.
        config: a `cls.Config`; none is the default one.
        expected_failures: why a check fails, by its name.

    Raises:
        AssertionError: a check failed, or one passed that was expected to fail.
    """
    _demand(check("methods", cls, name, config=config), name, expected_failures)


def check_backbone(
    cls: type[Backbone], name: str, config: Any = None, *, expected_failures: Expected | None = None
) -> None:
    """Assert that a backbone keeps the contract; arguments as of `check_method`."""
    _demand(check("backbones", cls, name, config=config), name, expected_failures)


def check_dataset(
    cls: type[Dataset],
    name: str,
    config: Any = None,
    location: DataLocation | None = None,
    *,
    expected_failures: Expected | None = None,
) -> None:
    """Assert that a dataset keeps the contract; arguments as of `check_method`.

    Args:
        cls: the dataset.
        name: its name.
        config: a `cls.Config`; none is the default one.
        location: where its files are. Without one, missing files are no failure.
        expected_failures: why a check fails, by its name.
    """
    _demand(check("datasets", cls, name, config=config, location=location), name, expected_failures)


def check_evaluator(
    cls: type[Evaluator], name: str, config: Any = None, *, expected_failures: Expected | None = None
) -> None:
    """Assert that an evaluator keeps the contract; arguments as of `check_method`."""
    _demand(check("evaluators", cls, name, config=config), name, expected_failures)


def check_executor(
    cls: type[Executor], name: str, config: Any = None, *, expected_failures: Expected | None = None
) -> None:
    """Assert that an executor keeps the contract; arguments as of `check_method`."""
    _demand(check("executors", cls, name, config=config), name, expected_failures)


def _find_kind(kind: str) -> str:
    if (known := find_meant(kind, _SUITES)) is None:
        raise BadValue(f"no checks are there of the kind {kind!r}.{suggest(kind, _SUITES)}")
    return known


def _demand(outcomes: Iterator[Outcome], name: str, expected: Expected | None) -> None:
    expected = expected or {}
    found = list(outcomes)
    wrong = [said for outcome in found if (said := _complain(outcome, expected))]
    unknown = expected.keys() - {outcome.name for outcome in found}
    wrong += [f"expected_failures: no check is named {title!r}" for title in sorted(unknown)]
    if all(outcome.state == "skipped" for outcome in found):
        wrong.append("nothing was checked: every check was skipped")
    if wrong:
        raise AssertionError("\n".join([f"{name} fails {len(wrong)} checks:", *wrong]))


def _complain(outcome: Outcome, expected: Expected) -> str:
    """Return what is wrong with an outcome, beside what is expected to be."""
    reason = expected.get(outcome.name)
    if reason is None:
        return "" if outcome.error is None else f"{outcome.name}: {outcome.error}"
    passes = f"{outcome.name}: it was expected to fail ({reason}), and is {outcome.state}. Take it out"
    return "" if outcome.error is not None else passes

"""Check a plugin the way the harness will use it.

    from bench.testing import check_method

    def test_alignment_keeps_the_contract():
        check_method(Alignment, "alignment")

A `check_*` raises one AssertionError that names every check that failed; `check` yields them one
by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from bench.contracts.backbone import Backbone
from bench.contracts.dataset import DataLocation, Dataset
from bench.contracts.evaluator import Evaluator
from bench.contracts.executor import Executor
from bench.contracts.method import Method
from bench.registry.registry import Registry
from bench.testing import backbones, datasets, evaluators, executors, methods
from bench.testing.checks import Outcome

__all__ = [
    "Outcome",
    "check",
    "check_backbone",
    "check_dataset",
    "check_evaluator",
    "check_executor",
    "check_method",
    "check_named",
]

_SUITES: dict[str, Callable[..., Iterator[Outcome]]] = {
    "methods": methods.outcomes,
    "backbones": backbones.outcomes,
    "datasets": datasets.outcomes,
    "evaluators": evaluators.outcomes,
    "executors": executors.outcomes,
}


def check(kind: str, cls: type[Any], name: str, **options: Any) -> Iterator[Outcome]:
    """Run every check of a kind, and yield each one's name with its error, or none.

    Args:
        kind: `methods`, `backbones`, `datasets`, `evaluators` or `executors`.
        cls: the plugin class.
        name: the name it is asked for by; of a family, any member.
        options: `config` for all kinds, `location` for datasets.
    """
    return _SUITES[kind](cls, name, **options)


def check_method(cls: type[Method], name: str, config: Any = None) -> None:
    """Assert that a method keeps the contract.

    Args:
        cls: the method.
        name: its name.
        config: a `cls.Config`; none is the default one.

    Raises:
        AssertionError: a check failed.
    """
    _demand(check("methods", cls, name, config=config), name)


def check_backbone(cls: type[Backbone], name: str, config: Any = None) -> None:
    """Assert that a backbone keeps the contract; arguments as of `check_method`."""
    _demand(check("backbones", cls, name, config=config), name)


def check_dataset(
    cls: type[Dataset], name: str, config: Any = None, location: DataLocation | None = None
) -> None:
    """Assert that a dataset keeps the contract; arguments as of `check_method`.

    Args:
        cls: the dataset.
        name: its name.
        config: a `cls.Config`; none is the default one.
        location: where its files are. Without one, missing files are no failure.
    """
    _demand(check("datasets", cls, name, config=config, location=location), name)


def check_evaluator(cls: type[Evaluator], name: str, config: Any = None) -> None:
    """Assert that an evaluator keeps the contract; arguments as of `check_method`."""
    _demand(check("evaluators", cls, name, config=config), name)


def check_executor(cls: type[Executor], name: str) -> None:
    """Assert that an executor keeps the contract; arguments as of `check_method`."""
    _demand(check("executors", cls, name), name)


def check_named(registry: Registry, name: str) -> Iterator[Outcome]:
    """Check what is registered under a name, of whatever kind.

    Raises:
        UnknownName: nothing is.
        BadPlugin: it cannot be imported.
    """
    for entry in registry.find_anywhere(name):
        if entry.kind in _SUITES:
            yield from check(entry.kind, registry.import_class(entry), entry.name)


def _demand(outcomes: Iterator[Outcome], name: str) -> None:
    failed = [f"{title}: {error}" for title, error in outcomes if error is not None]
    if failed:
        raise AssertionError("\n".join([f"{name} fails {len(failed)} checks:", *failed]))

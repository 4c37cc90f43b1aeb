"""The whole extension surface: five hooks that offer plugins, two that observe a run.

An entry point in the group `bench` names a module with any of these as `@hookimpl` functions.
That module is imported by every command, so it only says what there is; what it names is
imported when it is chosen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pluggy

PROJECT = "bench"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@dataclass(frozen=True)
class Offer:
    """One plugin class under one name.

    Args:
        name: its name on the command line, in records and in tables.
        target: `module:attribute` of the class; a leading dot is relative to the offering package.
        summary: one sentence for `bench list`.
    """

    name: str
    target: str
    summary: str


@dataclass(frozen=True)
class Family:
    """One plugin class that serves every name its library knows.

    Args:
        name: the family's name, e.g. `timm`.
        target: the class, as in `Offer`; it is told the name that was asked for.
        summary: one sentence for `bench list`.
        names: `module:function` without arguments that returns all names. It is called to list
            and to look up, so it must be quick to import.
    """

    name: str
    target: str
    summary: str
    names: str


@hookspec
def bench_methods() -> Iterable[Offer | Family]:
    """Offer SSL methods: subclasses of `bench.api.Method`."""
    return ()


@hookspec
def bench_backbones() -> Iterable[Offer | Family]:
    """Offer backbones: subclasses of `bench.api.Backbone`."""
    return ()


@hookspec
def bench_datasets() -> Iterable[Offer | Family]:
    """Offer datasets: subclasses of `bench.api.Dataset`."""
    return ()


@hookspec
def bench_evaluators() -> Iterable[Offer | Family]:
    """Offer evaluators: subclasses of `bench.api.Evaluator`."""
    return ()


@hookspec
def bench_formats() -> Iterable[Offer]:
    """Offer formats of tables: subclasses of `bench.api.TableFormat`."""
    return ()


@hookspec
def bench_epoch_end(key: str, epoch: int, metrics: Mapping[str, float]) -> None:
    """Observe the end of a pretraining epoch.

    Args:
        key: the backbone key of the run.
        epoch: counted from 1.
        metrics: what the last line of `metrics.jsonl` holds.
    """


@hookspec
def bench_cell_end(record: Mapping[str, Any]) -> None:
    """Observe a finished, failed or skipped cell.

    Args:
        record: the record as it was stored.
    """

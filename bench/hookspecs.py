"""The whole extension surface: hooks that offer plugins, one a kind, and hooks that observe a run.

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
PUBLISHED = "bench_published"  # the hook whose offers are no plugins, but numbers
PRESETS = "bench_presets"  # the hook whose offers are no plugins, but values for those of others
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@dataclass(frozen=True)
class Offer:
    """One plugin class under one name.

    Args:
        name: its name on the command line, in records and in tables.
        target: `module:attribute` of the class; a leading dot is relative to the offering package.
        summary: one sentence for `bench list`.
        group: what sort of plugin it is, in a word, which `bench list` shows where one of its kind has it; of
            methods the field's families: contrastive, distillation, decorrelation, clustering, masked, ….
        also: what it is called elsewhere, for the suggestion where somebody asks for that.
        of_folder: of a dataset: it is the user's own files, in the folder that `dataset.root` names. It is
            suggested where a path is named as a dataset.
    """

    name: str
    target: str
    summary: str
    group: str = ""
    also: tuple[str, ...] = ()
    of_folder: bool = False


@dataclass(frozen=True)
class Family:
    """One plugin class that serves every name its library knows.

    Args:
        name: the family's name, e.g. `timm`.
        target: the class, as in `Offer`; its constructor gets the name that was asked for.
        summary: one sentence for `bench list`.
        names: `module:function` without arguments that returns all names. It is called to list
            and to look up, so it must be quick to import.
    """

    name: str
    target: str
    summary: str
    names: str


@dataclass(frozen=True, kw_only=True)
class Run:
    """The pretraining of one backbone, for observers: plain values, `dataclasses.asdict` of it is JSON.

    Args:
        key: of the backbone; no other run has it.
        title: how progress names the run.
        method: its name.
        backbone: its name.
        dataset: the name of what is trained on.
        seed: of the training.
        settings: what was set explicitly, by its `--set` name.
        training: every number of the training; only the image size where nothing is trained.
        results: the folder of results.
        folder: the artifact while it is written, with `metrics.jsonl`; it is gone once the run has ended.
        epochs: of the whole training, 0 where nothing is trained.
        steps: of the whole training.
        resumed_epoch: epochs that an earlier process had done; 0 is a start from the beginning.
    """

    key: str
    title: str
    method: str
    backbone: str
    dataset: str
    seed: int
    settings: Mapping[str, Any]
    training: Mapping[str, Any]
    results: str
    folder: str
    epochs: int
    steps: int
    resumed_epoch: int = 0


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
def bench_executors() -> Iterable[Offer | Family]:
    """Offer ways to share out the cells of a grid: subclasses of `bench.api.Executor`."""
    return ()


@hookspec
def bench_formats() -> Iterable[Offer | Family]:
    """Offer formats of a table: subclasses of `bench.api.TableFormat`."""
    return ()


@hookspec
def bench_loggers() -> Iterable[Offer | Family]:
    """Offer loggers, which `bench run --log NAME` asks for: subclasses of `bench.api.Logger`."""
    return ()


@hookspec
def bench_published() -> Iterable[Any]:
    """Offer results that were published: `bench.api.PublishedResult`, or files in the form of `results.csv`.

    A file is a `pathlib.Path`, or what `importlib.resources.files(...)` gives: it has `read_text`. Its
    columns are method, dataset, evaluator, top1 and source, and if you like backbone, epochs, batch_size and
    protocol.
    """
    return ()


@hookspec
def bench_presets() -> Iterable[Any]:
    """Offer recipes, views and protocols for plugins that there are, of whoever they are.

    Each is a `bench.api.NamedRecipe`, `NamedViews` or `NamedProtocol`.
    """
    return ()


# ---- observers
#
# They are called with copies, on a thread that each plugin has for itself, in the process that trains. What
# they raise is logged, and a slow one delays nothing.


@hookspec
def bench_run_start(run: Run) -> None:
    """Observe that a pretraining starts, or goes on where an earlier process was stopped.

    Args:
        run: the pretraining.
    """


@hookspec
def bench_views(run: Run, picture: bytes) -> None:
    """Observe what the method sees, once the pretraining has started.

    Args:
        run: the pretraining.
        picture: a PNG of training images, each with two draws of its views.
    """


@hookspec
def bench_step_interval() -> int:  # type: ignore[empty-body]
    """Say every how many optimiser steps `bench_step_end` is called; without this hook it never is."""


@hookspec
def bench_step_end(run: Run, step: int, metrics: Mapping[str, float]) -> None:
    """Observe the end of an optimiser step, every `bench_step_interval` of them.

    Args:
        run: the pretraining.
        step: counted from 1 over the whole training.
        metrics: the terms of the loss as they were last read from the device, about a second ago at most:
            reading them at each step would slow the training.
    """


@hookspec
def bench_epoch_end(run: Run, key: str, epoch: int, metrics: Mapping[str, float]) -> None:
    """Observe the end of a pretraining epoch.

    Args:
        run: the pretraining.
        key: of the backbone, as in `run`.
        epoch: counted from 1.
        metrics: the last line of `metrics.jsonl`.
    """


@hookspec
def bench_run_end(run: Run, status: str) -> None:
    """Observe that a pretraining ended.

    Args:
        run: the pretraining.
        status: `ok`, `failed` or `interrupted`.
    """


@hookspec
def bench_cell_end(record: Mapping[str, Any], run: Run) -> None:
    """Observe that a cell is finished, failed or skipped.

    Args:
        record: as it was stored.
        run: the pretraining of the cell's backbone, which may have ended long ago.
    """

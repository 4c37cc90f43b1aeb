"""What this distribution offers to bench; imported by every command, so it imports little."""

from __future__ import annotations

from collections.abc import Iterator

from bench.api import Offer, hookimpl


@hookimpl
def bench_methods() -> Iterator[Offer]:
    """Offer a method."""
    yield Offer(
        "twist", ".twist:Twist", "Agree on a class, sure of each image and with all classes used alike."
    )


@hookimpl
def bench_backbones() -> Iterator[Offer]:
    """Offer a backbone."""
    yield Offer("convmixer_small", ".convmixer:ConvMixer", "A small ConvMixer, for images of any size.")


@hookimpl
def bench_datasets() -> Iterator[Offer]:
    """Offer a data set."""
    yield Offer("gratings", ".gratings:Gratings", "Waves, to be told apart by where they go.")


@hookimpl
def bench_evaluators() -> Iterator[Offer]:
    """Offer an evaluator."""
    yield Offer("lda", ".lda:LDA", "Linear discriminant analysis, its shrinkage chosen on held-out rows.")


@hookimpl
def bench_executors() -> Iterator[Offer]:
    """Offer an executor."""
    yield Offer("niced", ".niced:Niced", "One process after the other, of low priority.")


@hookimpl
def bench_formats() -> Iterator[Offer]:
    """Offer a format of tables."""
    yield Offer("typst", ".typst:Typst", "A figure with a table, for Typst.")

"""What this distribution offers to bench; imported by every command, so it imports little."""

from __future__ import annotations

from collections.abc import Iterator

from bench.api import NamedProtocol, NamedRecipe, NamedViews, Offer, Recipe, View, hookimpl


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


@hookimpl
def bench_loggers() -> Iterator[Offer]:
    """Offer a logger."""
    yield Offer("journal", ".journal:Journal", "A text file with a line a score.")


@hookimpl
def bench_presets() -> Iterator[NamedRecipe | NamedViews | NamedProtocol]:
    """Offer a recipe and views for SimCLR, and a protocol for kNN, which come with bench."""
    sgd = Recipe(optimizer="sgd", lr=0.06, lr_scaling="linear", weight_decay=5e-4, source="our choice")
    yield NamedRecipe(method="simclr", name="sgd", recipe=sgd)
    yield NamedViews(method="simclr", name="gentle", views=(View(crop_min=0.5),) * 2, source="our choice")
    settings = {"k": 200, "temperature": 0.07}
    yield NamedProtocol(evaluator="knn", name="wu2018", settings=settings, source="Wu 2018, 3.4")

"""Measures of frozen features: what this folder offers."""

from __future__ import annotations

from collections.abc import Iterator

from bench.api import Offer, hookimpl


@hookimpl
def bench_evaluators() -> Iterator[Offer]:
    """Offer the built-in evaluators."""
    yield Offer("linear", ".linear:Linear", "Fit a linear classifier on frozen features.")
    yield Offer("mlp", ".mlp:MLP", "Fit a multi-layer perceptron on frozen features.")
    yield Offer("knn", ".knn:KNN", "Let the nearest training features vote.")

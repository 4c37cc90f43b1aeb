"""Measures of a trained backbone: what this folder offers."""

from __future__ import annotations

from collections.abc import Iterator

from bench.api import Offer, hookimpl


@hookimpl
def bench_evaluators() -> Iterator[Offer]:
    """Offer the built-in evaluators."""
    yield Offer("linear", ".linear:Linear", "Fit a linear classifier on frozen features.")
    yield Offer("linear-sgd", ".linear_sgd:LinearSGD", "Train a linear classifier on crops and flips.")
    yield Offer("mlp", ".mlp:MLP", "Fit a multi-layer perceptron on frozen features.")
    yield Offer("finetune", ".finetune:Finetune", "Train the whole network on the labels.")
    yield Offer("label-fraction", ".label_fraction:LabelFraction", "Fit a classifier on ever more labels.")
    yield Offer("knn", ".knn:KNN", "Let the nearest training features vote.")
    yield Offer("geometry", ".geometry:Geometry", "Measure how features lie in their space, without labels.")

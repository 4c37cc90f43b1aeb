"""Measures of a trained backbone: what this folder offers."""

from __future__ import annotations

from collections.abc import Iterator

from bench.api import Offer, hookimpl

EVALUATORS = (  # name, module and class, summary, what it is called elsewhere
    ("linear", ".linear:Linear", "Fit a linear classifier on frozen features.",
     ("linear_probe", "linear_eval", "probe", "logistic_regression", "logreg", "lin_cls", "lp")),
    ("linear-sgd", ".linear_sgd:LinearSGD", "Train a linear classifier on crops and flips.",
     ("linear_classification", "linear_probe_sgd", "sgd_probe", "main_linear")),
    ("mlp", ".mlp:MLP", "Fit a multi-layer perceptron on frozen features.", ("nonlinear_probe", "mlp_probe")),
    ("finetune", ".finetune:Finetune", "Train the whole network on the labels.",
     ("ft", "fine_tuning", "finetuning", "end_to_end")),
    ("label-fraction", ".label_fraction:LabelFraction", "Fit a classifier on ever more labels.",
     ("semi_supervised", "label_efficiency", "low_shot", "few_shot")),
    ("knn", ".knn:KNN", "Let the nearest training features vote.",
     ("nearest_neighbours", "nearest_neighbors", "knn_classifier", "weighted_knn")),
    ("geometry", ".geometry:Geometry", "Measure how features lie in their space, without labels.",
     ("rankme", "alignment", "uniformity", "lidar", "alpha_req", "effective_rank")),
)  # fmt: skip


@hookimpl
def bench_evaluators() -> Iterator[Offer]:
    """Offer the built-in evaluators."""
    for name, target, summary, also in EVALUATORS:
        yield Offer(name, target, summary, also=also)

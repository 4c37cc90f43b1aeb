"""The first metric of each evaluator is its headline: what a table shows of it."""

from __future__ import annotations

from conftest import Lab

ACCURACIES = ["top1", "top5", "balanced_accuracy"]
CLASSIFIERS = [*ACCURACIES, "nll", "ece"]
METRICS = {
    "linear": CLASSIFIERS,
    "knn": ACCURACIES,
    "mlp": [*CLASSIFIERS, "linear_top1", "nonlinear_gap"],
    "linear-sgd": CLASSIFIERS,
    "finetune": CLASSIFIERS,
    "label-fraction": ["top1_area", "top1_at_50", "top1_at_50_std", "top1_at_100"],
    "geometry": [
        "rankme", "alpha_req", "lidar", "alignment", "uniformity", "nesum", "feature_std", "correlation"
    ],
}  # fmt: skip
SHORT = {
    "mlp.epochs": 1,
    "mlp.hidden": ((4,),),
    "linear-sgd.epochs": 1,
    "linear-sgd.lr_grid": ((0.1,),),
    "finetune.epochs": 1,
    "finetune.lr_backbone_grid": ((0.01,),),
    "finetune.lr_head_grid": ((0.1,),),
    "label-fraction.fractions": ((0.5, 1.0),),
    "label-fraction.draws": ((2, 1),),
    "geometry.lidar_images": 8,
    "geometry.lidar_views": 2,
}


def test_every_evaluator_has_its_metrics_in_order_and_the_first_is_its_headline(lab: Lab) -> None:
    assert set(METRICS) == {entry.name for entry in lab.registry.entries("evaluators")}
    records = lab.run(lab.plan(SHORT, evaluator=tuple(METRICS)))
    found = {record["cell"]["evaluator"]: record for record in records}

    for name, metrics in METRICS.items():
        assert found[name]["status"] == "ok", found[name]["error"]
        assert list(found[name]["metrics"]) == metrics
        assert found[name]["headline"] == metrics[0]

"""The curve against a classifier fitted on each subset by hand, and its area against torch."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
import torch
from bench_plugins.evaluators.knn import KNN
from bench_plugins.evaluators.label_fraction import PROBES, LabelFraction, area
from bench_plugins.evaluators.linear import Linear
from bench_plugins.evaluators.mlp import MLP

from bench.api import BadValue, Features, Scores, Task, seed_of
from bench.contracts.evaluator import draw_folds

SHORT: dict[str, Any] = {"fractions": (0.05, 0.2, 1.0), "draws": (3, 2, 1), "probe": "knn"}


def made(each: int = 40, noise: float = 2.0) -> Task:
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(3, 6, generator=generator)

    def draw(n: int) -> Features:
        y = torch.arange(n) % 3
        return Features(centres[y] + noise * torch.randn(n, 6, generator=generator), y)

    train = draw(3 * each)
    return Task(
        train=train,
        test=draw(90),
        folds=draw_folds(train, 0),
        classes=("a", "b", "c"),
        seed=4,
        device=torch.device("cpu"),
    )


def run(task: Task, **values: Any) -> Scores:
    scores: Scores = LabelFraction(LabelFraction.Config(**{**SHORT, **values})).evaluate(task)
    return scores


@pytest.mark.parametrize(("probe", "cls"), [("linear", Linear), ("knn", KNN)])
def test_the_curve_is_what_the_probe_finds_on_each_subset(probe: str, cls: type[Linear | KNN]) -> None:
    task = made()
    metrics = run(task, probe=probe).metrics
    for fraction, draws in zip(SHORT["fractions"], SHORT["draws"], strict=True):
        subsets = [task.subset(fraction, seed_of(4, "label-fraction", draw)) for draw in range(draws)]
        top1 = [cls(cls.Config()).evaluate(subset).metrics["top1"] for subset in subsets]
        name = f"top1_at_{100 * fraction:g}"

        assert metrics[name] == pytest.approx(np.mean(top1))
        if draws > 1:
            assert metrics[f"{name}_std"] == pytest.approx(np.std(top1, ddof=1))


@pytest.mark.parametrize("probe", ["linear", "knn"])
def test_a_draw_is_what_it_is_whatever_is_fitted_beside_it(
    probe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit: weak penalties on few rows have flat optima, where a last bit decides on the end."""
    seen: dict[tuple[int, ...], Scores] = {}
    cls = PROBES[probe]
    evaluate = cls.evaluate

    def keep(self: Any, task: Task) -> Scores:
        scores = evaluate(self, task)
        rows = tuple(task.train.x[:, 0].view(torch.int32).tolist())
        if rows in seen:
            assert scores.predictions.equal(seen[rows].predictions)
            assert scores.metrics == seen[rows].metrics
        seen[rows] = scores
        return scores

    monkeypatch.setattr(cls, "evaluate", keep)
    task = made(each=20)
    curves = [
        run(task, probe=probe, fractions=fractions, draws=draws).metrics
        for fractions, draws in (((0.3,), (1,)), ((0.3, 0.5), (3, 1)), ((0.2, 0.3, 1.0), (1, 2, 1)))
    ]

    assert len(seen) == 3 + 1 + 1 + 1
    assert curves[0]["top1_at_30"] == next(iter(seen.values())).metrics["top1"]


@pytest.mark.long
def test_a_perceptron_may_be_the_probe() -> None:
    task = made()
    alone = MLP(MLP.Config()).evaluate(task).metrics["top1"]
    scores = run(task, probe="mlp", fractions=(1.0,), draws=(1,))

    assert scores.metrics["top1_at_100"] == alone
    assert scores.protocol["classifier"] == "mlp"
    assert scores.protocol["selected"] == "lr, weight_decay, epochs in every subset"


def test_metrics_come_with_the_area_first_and_a_deviation_where_there_are_draws() -> None:
    scores = run(made(), probe="linear")
    names = ["top1_area", "top1_at_5", "top1_at_5_std", "top1_at_20", "top1_at_20_std", "top1_at_100"]

    assert list(scores.metrics) == names
    assert {name for name in names if scores.direction(name) is None} == {"top1_at_5_std", "top1_at_20_std"}
    assert scores.direction("top1_area")
    assert scores.metrics["top1_at_5_std"] > 0


def test_all_labels_give_what_the_probe_alone_gives() -> None:
    task = made()
    alone = Linear(Linear.Config()).evaluate(task)
    scores = run(task, probe="linear", fractions=(0.5, 1.0), draws=(1, 1))

    assert scores.metrics["top1_at_100"] == alone.metrics["top1"]
    assert scores.predictions is not None
    assert scores.predictions.equal(alone.predictions)
    assert scores.confidence is not None
    assert scores.confidence.equal(alone.confidence)
    assert scores.per_class == alone.per_class


def test_the_area_is_the_trapezoid_rule_over_the_logarithm() -> None:
    fractions, values = [0.001, 0.03, 0.1, 1.0], [20.0, 50.0, 55.0, 90.0]
    at = torch.tensor(fractions, dtype=torch.float64).log10()
    expected = float(torch.trapezoid(torch.tensor(values, dtype=torch.float64), at) / (at[-1] - at[0]))

    assert area(fractions, values) == pytest.approx(expected)
    assert area([0.01, 0.1, 1.0], [70.0, 70.0, 70.0]) == pytest.approx(70)
    assert area([0.1], [42.0]) == 42


def test_the_area_is_of_the_curve_that_is_reported() -> None:
    metrics = run(made()).metrics
    means = [metrics[f"top1_at_{percent}"] for percent in (5, 20, 100)]

    assert metrics["top1_area"] == pytest.approx(area(SHORT["fractions"], means))


def test_a_fraction_that_leaves_a_class_empty_is_left_out_and_named() -> None:
    task = made(each=40)
    scores = run(task, fractions=(0.001, 0.0125, 0.05, 1.0), draws=(5, 5, 2, 1))

    assert scores.protocol["left_out"] == [0.001, 0.0125]  # of 40 examples 0.5 is rounded to none
    assert scores.protocol["fractions"] == [0.05, 1.0]
    assert scores.protocol["labels"] == [6, 120]
    assert scores.protocol["draws"] == [2, 1]


def test_one_scarce_class_decides() -> None:
    task = made(each=40)
    kept = torch.cat(((task.train.y < 2).nonzero()[:, 0], (task.train.y == 2).nonzero()[:4, 0])).sort().values
    scarce = task.train.take(kept)
    scores = run(replace(task, train=scarce, folds=draw_folds(scarce, 0)))

    assert scores.protocol["left_out"] == [0.05]
    assert scores.protocol["labels"] == [8 + 8 + 1, 84]


def test_no_fraction_left_is_refused() -> None:
    with pytest.raises(BadValue, match=r"each of 0\.001, 0\.002 leaves a class without an example"):
        run(made(), fractions=(0.001, 0.002), draws=(2, 2))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"fractions": (), "draws": ()}, "fractions is empty"),
        ({"fractions": (0.1, 0.1), "draws": (1, 1)}, "once, ascending"),
        ({"fractions": (1.0, 0.1), "draws": (1, 1)}, "once, ascending"),
        ({"fractions": (0.1, 1.0), "draws": (3,)}, "draws has 1 numbers, but there are 2 fractions"),
        ({"fractions": (0.1, 1.0), "draws": (3, 3)}, "Set the last of label-fraction.draws to 1"),
    ],
)
def test_what_makes_no_curve_is_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(BadValue, match=said):
        LabelFraction(LabelFraction.Config(**values)).check(100, 3)


def test_the_protocol_says_that_each_subset_chooses_for_itself() -> None:
    task = made()
    linear, knn = (run(task, probe=probe, draws=(1, 1, 1)).protocol for probe in ("linear", "knn"))

    assert linear["selected"] == "l2 in every subset"
    assert linear["selected_on"].startswith("inside each subset: ")
    assert linear["selected_on"].count("5-fold") == 1
    assert linear["selected_split"] == "train"
    assert (knn["selected"], knn["selected_on"], knn["selected_split"]) == ("nothing", "nothing", "nothing")


def test_labels_outside_a_subset_do_not_count() -> None:
    task = made()
    values = {"fractions": (0.2,), "draws": (1,)}
    used = {tuple(row) for row in task.subset(0.2, seed_of(4, "label-fraction", 0)).train.x.tolist()}
    spare = torch.tensor([tuple(row) not in used for row in task.train.x.tolist()])
    moved = replace(task, train=Features(torch.where(spare[:, None], 100.0, task.train.x), task.train.y))

    assert run(moved, **values).metrics == run(task, **values).metrics


def test_two_runs_are_one_and_another_seed_draws_apart() -> None:
    task = made()
    first, second, other = run(task), run(task), run(replace(task, seed=5))

    assert second.metrics == first.metrics
    assert other.metrics["top1_at_5"] != first.metrics["top1_at_5"]
    assert other.metrics["top1_at_100"] == first.metrics["top1_at_100"]


def test_test_labels_change_no_prediction() -> None:
    task = made()
    first, second = run(task), run(replace(task, test=Features(task.test.x, task.test.y.roll(1))))

    assert first.predictions is not None
    assert first.predictions.equal(second.predictions)


def test_the_defaults_are_those_that_are_documented() -> None:
    assert asdict(LabelFraction.Config()) == {
        "blocks": 0,
        "pool": "class",
        "fractions": (0.001, 0.01, 0.1, 1.0),
        "draws": (5, 5, 3, 1),
        "probe": "linear",
    }

"""The heads trained as one against torch's own optimisers, and the backbone that is not to change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

import pytest
import torch
from bench_plugins.evaluators.fitting.sgd import cosine, crop_and_flip, draw_views, shuffle_rows
from bench_plugins.evaluators.linear_sgd import Heads, LinearSGD, mark_fitted
from torch import Tensor, nn
from torch.nn import functional as F

from bench.api import (
    Backbone,
    BadValue,
    DatasetInfo,
    Features,
    Images,
    Network,
    Scores,
    Task,
    View,
    describe_choice,
)
from bench.errors import CellError

CPU = torch.device("cpu")
CLASSES = ("dark", "grey", "bright")
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
LRS = (0.03, 0.3, 1.0)
FORWARDS: list[tuple[int, bool, bool]] = []  # images, whether in training mode, whether with gradient


class Seen(Backbone):
    """Normed channel means and deviations; says how it was called."""

    dim = 6

    def __init__(self) -> None:
        super().__init__("seen", None, 3, 8)
        self.norm, self.drop = nn.BatchNorm2d(3), nn.Dropout(0.5)

    def forward(self, images: Tensor) -> Tensor:
        FORWARDS.append((len(images), self.training, torch.is_grad_enabled()))
        maps = self.norm(images).flatten(2)
        return self.drop(torch.cat((maps.mean(2), maps.std(2)), 1))


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    yield
    FORWARDS.clear()


def images(n: int, seed: int) -> Images:
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % len(CLASSES)
    noise = torch.randint(60, (n, 3, 8, 8), generator=generator)
    return Images((80 * y.view(-1, 1, 1, 1) + noise).to(torch.uint8), y)


def made(n: int = 60, folds: int = 2) -> Task:
    """Return a task of images by their brightness, whose features are those of `Seen`."""
    train, test = images(n, 0), images(30, 1)
    network = Network(
        trained=Seen().eval().requires_grad_(requires_grad=False),
        train=train,
        test=test,
        data=DatasetInfo(classes=CLASSES, channels=3, size=8),
        image_size=8,
        channels=3,
        mean=MEAN,
        std=STD,
        device=CPU,
    )
    parts = torch.arange(n).chunk(5)
    pairs = [(torch.cat([p for p in parts if p is not val]), val) for val in parts[:folds]]
    return Task(
        train=Features(features(network, train), train.labels),
        test=Features(features(network, test), test.labels),
        folds=tuple(pairs),
        classes=CLASSES,
        seed=0,
        device=CPU,
        network=network,
    )


@torch.no_grad()
def features(network: Network, of: Images) -> Tensor:
    x: Tensor = network.backbone()(network.clean(of.pixels))
    FORWARDS.clear()
    return x


def evaluator(**values: Any) -> LinearSGD:
    return LinearSGD(LinearSGD.Config(**{"epochs": 4, "batch_size": 16, **values}))


def run(task: Task, **values: Any) -> Scores:
    scores: Scores = evaluator(**values).evaluate(task)
    return scores


def train_plain(task: Task, batches: Sequence[Tensor], optimizer: str, lr: float, decay: float) -> nn.Linear:
    """Train one head on the clean features of some rows, with torch's own modules."""
    head = nn.Linear(task.train.x.shape[1], len(task.classes))
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    if optimizer == "adamw":
        steps: torch.optim.Optimizer = torch.optim.AdamW(head.parameters(), lr=lr, weight_decay=decay)
    else:
        lr = lr * 16 / 256
        steps = torch.optim.SGD(head.parameters(), lr=lr, momentum=0.9, nesterov=True, weight_decay=decay)
    for step, rows in enumerate(batches):
        steps.param_groups[0]["lr"] = lr * cosine(step, len(batches))
        steps.zero_grad()
        loss = F.cross_entropy(head(task.train.x[rows]), task.train.y[rows], reduction="sum")
        (loss / max(1, len(rows))).backward()
        steps.step()
    return head


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_each_head_is_what_torch_trains_on_the_rows_of_its_own(optimizer: str) -> None:
    task = made(n=49)  # an epoch's last batch has one row, which is held out of one fold or the other
    values = {"optimizer": optimizer, "weight_decay": 0.01, "lr_grid": LRS, "augment": False}
    heads = evaluator(**values).train(task, LRS, task.folds)
    batches = [
        b for e in range(4) for b in shuffle_rows(torch.arange(49), 0, "linear-sgd", "order", e).split(16)
    ]
    everything = torch.arange(49)

    for part, kept in enumerate([*(fit for fit, _ in task.folds), everything]):
        own = [rows[torch.isin(rows, kept)] for rows in batches]
        for place, lr in enumerate(LRS):
            single = train_plain(task, own, optimizer, lr, 0.01)
            expected = torch.cat((single.weight, single.bias[:, None]), 1)

            assert torch.allclose(heads.at[place, part], expected, atol=1e-5, rtol=1e-4)


def test_a_head_that_diverges_touches_no_other() -> None:
    task = made()
    values = {"augment": False, "weight_decay": 0.5}
    together = evaluator(**values).train(task, (0.3, 1e36), task.folds)
    alone = evaluator(**values).train(task, (0.3,), task.folds)

    assert not together.at[1].isfinite().all()
    assert torch.allclose(together.at[0], alone.at[0], atol=1e-6)


def test_held_out_rows_are_judged_as_torch_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench_plugins.evaluators.linear_sgd.ROWS", 7)
    generator = torch.Generator().manual_seed(0)
    heads = Heads(2, 3, 4, 5, CPU)
    heads.at.copy_(torch.randn(heads.at.shape, generator=generator))
    heads.at[1].fill_(torch.nan)
    x, y = torch.randn(30, 5, generator=generator), torch.arange(30) % 4
    logits = x @ heads.at[0, 2, :, :-1].T + heads.at[0, 2, :, -1]
    top1, loss = heads.judge(x, y, part=2)

    assert float(top1[0]) == pytest.approx(100 * float((logits.argmax(1) == y).double().mean()))
    assert float(loss[0]) == pytest.approx(float(F.cross_entropy(logits, y)), abs=1e-6)
    assert (float(top1[1]), float(loss[1])) == (0, torch.inf)


def test_one_pass_an_epoch_serves_all_heads_without_training_the_backbone() -> None:
    task = made()
    assert task.network is not None
    before = {name: value.clone() for name, value in task.network.trained.state_dict().items()}
    run(task, lr_grid=LRS)
    after = task.network.trained.state_dict()

    assert sum(count for count, _, _ in FORWARDS) == 4 * 60
    assert {(training, gradient) for _, training, gradient in FORWARDS} == {(False, False)}
    assert all(torch.equal(value, before[name]) for name, value in after.items())


def test_images_are_told_apart_by_training_on_views() -> None:
    scores = run(made(), epochs=30)

    assert scores.metrics["top1"] > 95
    assert set(scores.metrics) == {"top1", "balanced_accuracy", "nll", "ece"}
    assert scores.protocol["augment"] is True


def test_views_are_drawn_anew_each_time_and_keep_the_label() -> None:
    network = made().network
    assert network is not None
    rows = torch.arange(4)
    one, again, other = (draw_views(network, rows, crop_and_flip(0.08), 0, "views", e) for e in (0, 0, 1))
    whole = draw_views(
        replace(network, data=replace(network.data, flip=False)), rows, crop_and_flip(1.0), 0, "views"
    )

    assert torch.equal(again, one)
    assert not torch.equal(other, one)
    assert torch.allclose(whole, network.clean(network.train.pixels[rows]), atol=1e-5)


def test_without_views_the_clean_features_are_enough() -> None:
    task = replace(made(), network=None)

    assert run(task, augment=False, epochs=30).metrics["top1"] > 95
    assert FORWARDS == []
    with pytest.raises(BadValue, match=r"^linear-sgd: it needs a backbone"):
        run(task)


def test_a_learning_rate_that_does_nothing_or_diverges_is_not_chosen() -> None:
    protocol = run(made(), lr_grid=(1e-9, 1.0, 1e37), epochs=30, weight_decay=0.01).protocol

    assert protocol["lr"] == 1.0
    assert protocol["grid"] == [1e-9, 1.0, 1e37]
    assert protocol["grid_edge"] is False
    assert protocol["selected"] == "lr"


def test_the_protocol_says_on_what_the_learning_rate_was_chosen() -> None:
    found = [run(made(folds=folds), default_lr=0.5).protocol for folds in (0, 1, 2)]

    assert [p["selected_split"] for p in found] == ["nothing", "train", "train"]
    assert [p["selected_on"] for p in found] == [
        "nothing: no class has two labelled images",
        "20% hold-out of train",
        "2-fold cross-validation inside the labelled subset",
    ]
    assert (found[0]["selected"], found[0]["lr"]) == ("nothing", 0.5)
    assert describe_choice(replace(made(), own_val=True))["selected_split"] == "val"


def test_a_grid_of_one_value_leaves_nothing_to_choose() -> None:
    for folds in (0, 2):
        protocol = run(made(folds=folds), lr_grid=(0.7,)).protocol

        assert (protocol["lr"], protocol["selected"], protocol["selected_split"]) == (
            0.7,
            "nothing",
            "nothing",
        )


def test_test_labels_change_neither_choice_nor_prediction() -> None:
    task = made()
    first = run(task)
    second = run(replace(task, test=Features(task.test.x, task.test.y.roll(1))))

    assert second.predictions is not None
    assert first.predictions is not None
    assert second.predictions.equal(first.predictions)
    assert second.protocol == first.protocol


def test_held_out_rows_do_not_train_what_they_judge() -> None:
    task = made(folds=1)
    found = 0.0
    for turn in range(3):
        y = task.train.y.clone()
        y[task.folds[0][1]] = (y[task.folds[0][1]] + turn) % 3
        turned = replace(task, train=Features(task.train.x, y))
        found += run(turned, lr_grid=(0.1, 0.1), epochs=1).protocol["val_top1"]

    # of predictions that stay each row is right under exactly one of the three labellings
    assert found == pytest.approx(100)


def test_two_runs_are_one_and_another_seed_is_another() -> None:
    first, second, other = run(made()), run(made()), run(replace(made(), seed=1))

    assert second.metrics == first.metrics
    assert other.metrics["nll"] != first.metrics["nll"]


def test_a_training_that_diverges_fails_in_one_line() -> None:
    with pytest.raises(CellError, match=r"^linear-sgd: at lr 1e\+37 the logits: "):
        run(made(), lr_grid=(1e37,), weight_decay=1.0)


def test_the_learning_rate_falls_from_all_to_nothing() -> None:
    assert [cosine(step, 4) for step in (0, 2, 4)] == pytest.approx([1, 0.5, 0])


def test_what_cannot_be_trained_is_refused() -> None:
    with pytest.raises(BadValue, match="lr_grid is empty"):
        evaluator(lr_grid=()).check(10, 2)
    with pytest.raises(BadValue, match="adamw needs learning rates of its own"):
        evaluator(optimizer="adamw").check(10, 2)
    with pytest.raises(BadValue, match="the number of classes is 1"):
        evaluator().check(10, 1)


@pytest.mark.parametrize("part", ["train", "test"])
def test_features_that_are_not_numbers_are_refused(part: str) -> None:
    task = made()
    getattr(task, part).x[3, 2] = torch.inf

    with pytest.raises(CellError, match=f"linear-sgd: the {part}"):
        run(task)


def test_the_defaults_are_those_that_are_documented() -> None:
    assert asdict(LinearSGD.Config()) == {
        "epochs": 90,
        "batch_size": 256,
        "lr_grid": (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0),
        "default_lr": 0.1,
        "weight_decay": 0.0,
        "momentum": 0.9,
        "augment": True,
        "optimizer": "sgd",
        "crop_min": 0.08,
    }


def test_a_learning_rate_is_judged_by_heads_on_rows_that_they_did_not_learn_from() -> None:
    """Labels are drawn at random: whoever has seen a row knows more of it."""
    generator = torch.Generator().manual_seed(0)
    x, drawn = torch.randn(60, 40, generator=generator), torch.randint(3, (60,), generator=generator)
    task = replace(made(), train=Features(x, drawn), test=Features(x[:30], drawn[:30]))
    heads = evaluator(augment=False).train(task, (0.3, 3.0), task.folds)

    def judge(lr: int, part: int, rows: Tensor) -> float:
        at = heads.at[lr, part]
        found = (task.train.x[rows] @ at[:, :-1].T + at[:, -1]).argmax(1)
        return 100 * float((found == drawn[rows]).double().mean())

    by_fold = [
        sum(judge(lr, fold, val) for fold, (_, val) in enumerate(task.folds)) / len(task.folds)
        for lr in range(2)
    ]
    by_all = [sum(judge(lr, -1, val) for _, val in task.folds) / len(task.folds) for lr in range(2)]
    protocol = run(task, augment=False, lr_grid=(0.3, 3.0)).protocol

    assert protocol["val_top1"] == pytest.approx(max(by_fold))
    assert max(by_fold) != max(by_all)
    assert mark_fitted(60, task.folds).sum(0).tolist() == [48, 48, 60]


def test_a_head_does_not_depend_on_the_learning_rates_and_parts_beside_it() -> None:
    task = made()
    values = {"augment": False}
    alone = evaluator(**values).train(task, (0.3,), task.folds[:1])
    beside = evaluator(**values).train(task, (30.0, 0.3, 0.1), task.folds)

    assert torch.allclose(alone.at[0, 0], beside.at[1, 0], atol=1e-5)
    assert torch.allclose(alone.at[0, -1], beside.at[1, -1], atol=1e-5)


def test_classifiers_are_trained_on_crops_and_mirrored_images_alone() -> None:
    assert crop_and_flip(0.3) == View(crop_min=0.3, flip=0.5, jitter=0.0, grey=0.0, blur=0.0, solarise=0.0)

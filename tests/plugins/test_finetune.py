"""Fine-tuning against torch's own loop, on images whose classes the frozen backbone does not see."""

from __future__ import annotations

import copy
from dataclasses import asdict, replace
from typing import Any

import pytest
import torch
from bench_plugins.evaluators.finetune import Finetune, Rates, predict, split_batches
from bench_plugins.evaluators.fitting.sgd import cosine, crop_and_flip, draw_views, shuffle_rows
from bench_plugins.evaluators.linear_sgd import LinearSGD
from torch import Tensor, nn
from torch.nn import functional as F

from bench.api import Backbone, BadValue, DatasetInfo, Features, Images, Network, Scores, Task
from bench.errors import CellError

CPU = torch.device("cpu")
CLASSES = ("dark", "middle", "bright")
RATES = Rates(0.05, 0.3)
SMALL = {"epochs": 3, "batch_size": 16, "lr_backbone_grid": (0.05, 0.2), "lr_head_grid": (0.3,)}


class Blind(Backbone):
    """A convolution that starts without a weight on red, a norm, and another norm of the features."""

    dim = 8

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__("blind", None, 3, 8)
        self.first = nn.Conv2d(3, self.dim, 3, padding=1)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            self.first.weight.normal_(generator=generator).mul_(0.2)[:, 0] = 0
            self.first.bias.zero_()
        self.norm, self.last = nn.BatchNorm2d(self.dim), nn.BatchNorm1d(self.dim)
        self.drop = nn.Dropout(dropout)

    def forward(self, images: Tensor) -> Tensor:
        pooled = torch.relu(self.norm(self.first(images))).mean((2, 3))
        return self.drop(self.last(pooled))


class Pixels(Backbone):
    """Nothing to train."""

    dim = 192

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)


def images(n: int, seed: int) -> Images:
    """Draw images whose red tells the class; green and blue are noise."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % len(CLASSES)
    pixels = torch.randint(256, (n, 3, 1, 1), generator=generator).expand(-1, -1, 8, 8).clone()
    pixels[:, 0] = (90 * y).view(-1, 1, 1) + torch.randint(60, (n, 8, 8), generator=generator)
    return Images(pixels.to(torch.uint8), y)


def made(n: int = 60, folds: int = 1, backbone: Backbone | None = None) -> Task:
    train, test = images(n, 0), images(90, 1)
    network = Network(
        trained=(backbone or Blind()).eval().requires_grad_(requires_grad=False),
        train=train,
        test=test,
        data=DatasetInfo(classes=CLASSES, channels=3, size=8),
        image_size=8,
        channels=3,
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        device=CPU,
    )
    parts = torch.arange(n).chunk(5)
    pairs = [(torch.cat([p for p in parts if p is not val]), val) for val in parts[:folds]]
    return Task(
        train=frozen(network, train),
        test=frozen(network, test),
        folds=tuple(pairs),
        classes=CLASSES,
        seed=0,
        device=CPU,
        network=network,
    )


@torch.no_grad()
def frozen(network: Network, of: Images) -> Features:
    return Features(network.backbone()(network.clean(of.pixels)), of.labels)


def evaluator(**values: Any) -> Finetune:
    return Finetune(Finetune.Config(**{**SMALL, **values}))


def run(task: Task, **values: Any) -> Scores:
    scores: Scores = evaluator(**values).evaluate(task)
    return scores


def network_of(task: Task) -> Network:
    assert task.network is not None
    return task.network


def train(task: Task, rows: Tensor, **values: Any) -> nn.Sequential:
    model: nn.Sequential = evaluator(**values).train(task, network_of(task), rows, RATES)
    return model


def test_a_training_is_torchs_own_with_a_learning_rate_for_each_part() -> None:
    task = made()
    network, rows = network_of(task), torch.arange(40)
    found = train(task, rows, weight_decay=0.01)
    backbone, head = network.backbone().train(), nn.Linear(8, 3)
    for parameter in head.parameters():
        nn.init.zeros_(parameter)
    shared: dict[str, Any] = {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}
    of_backbone = torch.optim.SGD(backbone.parameters(), lr=0.1, **shared)
    of_head = torch.optim.SGD(head.parameters(), lr=0.1, **shared)
    for epoch in range(3):
        for step, batch in enumerate(shuffle_rows(rows, 0, "finetune", "order", epoch).split(16)):
            share = cosine(3 * epoch + step, 9) * 16 / 256
            of_backbone.param_groups[0]["lr"], of_head.param_groups[0]["lr"] = 0.05 * share, 0.3 * share
            x = draw_views(network, batch, crop_and_flip(0.08), 0, "finetune", "views", epoch, step)
            of_backbone.zero_grad()
            of_head.zero_grad()
            F.cross_entropy(head(backbone(x)), task.train.y[batch]).backward()
            of_backbone.step()
            of_head.step()
    expected = nn.Sequential(backbone, head).state_dict()

    assert all(
        torch.allclose(v.float(), expected[n].float(), atol=1e-6) for n, v in found.state_dict().items()
    )


def test_what_the_frozen_backbone_does_not_see_is_learnt() -> None:
    task = made(n=90)
    tuned = run(task, epochs=20)
    probe = LinearSGD(LinearSGD.Config(epochs=20, batch_size=16)).evaluate(task)

    assert tuned.metrics["top1"] > 90
    assert probe.metrics["top1"] < 60
    assert set(tuned.metrics) == {"top1", "balanced_accuracy", "nll", "ece"}


def test_the_backbone_it_is_given_stays_as_it_was() -> None:
    task = made()
    before = copy.deepcopy(network_of(task).trained.state_dict())
    run(task)
    trained = network_of(task).trained

    assert all(torch.equal(value, before[name]) for name, value in trained.state_dict().items())
    assert not trained.training
    assert not any(parameter.requires_grad for parameter in trained.parameters())


def test_norms_are_trained_and_then_used_as_they_are() -> None:
    task = made()
    model = train(task, torch.arange(60))
    norm = model[0].norm
    mean = norm.running_mean.clone()
    predict(model, network_of(task), network_of(task).test.pixels, 16)

    assert int(norm.num_batches_tracked) == 3 * 4
    assert not torch.equal(mean, torch.zeros(8))
    assert not torch.equal(norm.bias, torch.zeros(8))
    assert torch.equal(norm.running_mean, mean)


@pytest.mark.parametrize(
    ("rows", "sizes"), [(32, [16, 16]), (35, [16, 16, 3]), (33, [16, 17]), (17, [17]), (1, [2])]
)
def test_no_batch_has_a_single_row(rows: int, sizes: list[int]) -> None:
    found = split_batches(torch.arange(rows), 16)

    assert [len(batch) for batch in found] == sizes
    assert set(torch.cat(found).tolist()) == set(range(rows))


def test_a_single_image_over_is_trained_on() -> None:
    assert torch.isfinite(train(made(), torch.arange(33))[1].weight).all()
    assert run(made(n=3, folds=0)).metrics["top1"] >= 0


def test_the_choice_is_made_on_the_first_fold_alone() -> None:
    task = made(folds=2)
    beyond = torch.tensor([10**6])
    found = run(replace(task, folds=(task.folds[0], (beyond, beyond)))).protocol

    assert found["selected"] == "lr_backbone, lr_head"
    assert found["selected_on"] == "one of 2 folds inside the labelled subset"
    assert found["selected_split"] == "train"
    assert run(replace(made(), own_val=True)).protocol["selected_split"] == "val"


def test_the_protocol_says_what_was_trained() -> None:
    protocol = run(made(), epochs=8, lr_backbone_grid=(0.2, 1e-9, 1e-8), lr_head_grid=(0.3,)).protocol

    assert protocol["features"] == "fine-tuned"
    assert (protocol["lr_backbone"], protocol["lr_head"]) == (0.2, 0.3)
    assert protocol["grid"] == {"lr_backbone": [0.2, 1e-9, 1e-8], "lr_head": [0.3]}
    assert protocol["grid_edge"] is True
    assert (protocol["epochs"], protocol["batch_size"], protocol["precision"]) == (8, 16, "float32")


@pytest.mark.parametrize("folds", [0, 1])
def test_where_there_is_no_choice_none_is_claimed(folds: int) -> None:
    one = run(made(folds=folds), lr_backbone_grid=(0.02,)).protocol

    assert (one["lr_backbone"], one["lr_head"]) == (0.02, 0.3)
    assert (one["selected"], one["selected_split"]) == ("nothing", "nothing")


def test_without_folds_the_default_rates_are_used() -> None:
    protocol = run(made(folds=0), default_lr_backbone=0.04, default_lr_head=0.06).protocol

    assert (protocol["lr_backbone"], protocol["lr_head"]) == (0.04, 0.06)
    assert protocol["selected_on"] == "nothing: no class has two labelled images"


def test_held_out_rows_do_not_train_what_they_judge() -> None:
    task = made()
    found = 0.0
    for turn in range(3):
        y = task.train.y.clone()
        y[task.folds[0][1]] = (y[task.folds[0][1]] + turn) % 3
        turned = replace(task, train=Features(task.train.x, y))
        found += run(turned, lr_head_grid=(0.3, 0.3), lr_backbone_grid=(0.05,)).protocol["val_top1"]

    # of predictions that stay each row is right under exactly one of the three labellings
    assert found == pytest.approx(100)


def test_test_labels_change_neither_choice_nor_prediction() -> None:
    task = made()
    first = run(task)
    second = run(replace(task, test=Features(task.test.x, task.test.y.roll(1))))

    assert first.predictions is not None
    assert second.predictions is not None
    assert second.predictions.equal(first.predictions)
    assert second.protocol == first.protocol


def test_dropout_is_seeded_and_other_draws_are_left_alone() -> None:
    task = made(backbone=Blind(dropout=0.5))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        first = run(task)
        state = torch.get_rng_state()
        torch.manual_seed(1)
        expected = torch.get_rng_state()
        torch.manual_seed(2)
        second = run(task)

    assert second.metrics == first.metrics
    assert torch.equal(state, expected)
    assert run(replace(task, seed=1)).metrics["nll"] != first.metrics["nll"]


def test_a_pair_that_diverges_loses_and_stops_no_other() -> None:
    protocol = run(made(), lr_backbone_grid=(1e30, 0.2)).protocol

    assert protocol["lr_backbone"] == 0.2


def test_a_training_that_diverges_fails_in_one_line() -> None:
    with pytest.raises(CellError, match=r"^finetune: at lr_backbone 1e\+30 and lr_head 0.3 the logits: "):
        run(made(), lr_backbone_grid=(1e30,))


def test_bfloat16_is_close_to_float32_and_not_the_same() -> None:
    exact, rough = (run(made(), epochs=10, precision=p).metrics for p in ("float32", "bfloat16"))

    assert rough["nll"] != exact["nll"]
    assert rough["nll"] == pytest.approx(exact["nll"], abs=0.1)


def test_what_cannot_be_tuned_is_refused() -> None:
    task = made(backbone=Pixels("pixels", None, 3, 8))
    with pytest.raises(BadValue, match=r"^finetune: the backbone has no parameters to train\."):
        run(task)
    with pytest.raises(BadValue, match=r"^finetune: it needs a backbone"):
        run(replace(task, network=None))
    for name in ("lr_backbone_grid", "lr_head_grid"):
        with pytest.raises(BadValue, match=f"{name} is empty"):
            evaluator(**{name: ()}).check(10, 2)
    with pytest.raises(BadValue, match="the number of classes is 1"):
        evaluator().check(10, 1)


def test_the_defaults_are_those_that_are_documented() -> None:
    assert asdict(Finetune.Config()) == {
        "epochs": 30,
        "batch_size": 256,
        "lr_backbone_grid": (0.01, 0.05),
        "lr_head_grid": (0.1, 1.0),
        "default_lr_backbone": 0.03,
        "default_lr_head": 0.08,
        "weight_decay": 0.0,
        "momentum": 0.9,
        "crop_min": 0.08,
        "precision": "float32",
    }


def test_the_fit_rows_are_trained_on_and_the_held_out_rows_judge() -> None:
    """A head that starts at zero does not care about renamed labels: this is a training by hand."""
    task = made()
    ((fit, val),) = task.folds
    network, rows = network_of(task), []

    class Watched(Finetune):
        def train(self, task: Task, network: Network, chosen: Tensor, rates: Rates) -> nn.Sequential:
            rows.append(chosen)
            return super().train(task, network, chosen, rates)

    found = Watched(Finetune.Config(**SMALL)).evaluate(task).protocol
    judged = []
    for lr in SMALL["lr_backbone_grid"]:
        model = evaluator().train(task, network, fit, Rates(lr, 0.3))
        logits = predict(model, network, network.train.pixels[val], 16)
        judged.append(100 * float((logits.argmax(1) == task.train.y[val]).double().mean()))

    assert [part.tolist() for part in rows] == [fit.tolist(), fit.tolist(), list(range(60))]
    assert found["val_top1"] == pytest.approx(max(judged))

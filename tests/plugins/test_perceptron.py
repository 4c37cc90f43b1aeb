"""A batch of perceptrons against torch's own modules."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from bench_plugins.evaluators.fitting import perceptron
from torch import Tensor, nn
from torch.nn import functional as F

from bench.api import Features

CPU = torch.device("cpu")
SMALL = {"hidden": (16,), "lr_grid": (1e-3, 1e-2), "weight_decay_grid": (0.0, 1.0), "epochs": 5}
WIDTHS = (6, 9, 7, 3)
LR, DECAY = torch.tensor([1e-3, 1e-2, 3e-2]), torch.tensor([0.0, 1.0, 0.1])


def rings(n: int, seed: int) -> Features:
    """Draw three rings around one centre in two of eight dimensions: no line parts them."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 3
    angle = 6.2832 * torch.rand(n, generator=generator)
    plane = (1.0 + y)[:, None] * torch.stack((angle.cos(), angle.sin()), 1)
    noise = torch.randn(n, 8, generator=generator)
    return Features(torch.cat((plane + 0.1 * noise[:, :2], noise[:, 2:]), 1), y)


def plain(model: perceptron.Perceptrons, head: int) -> nn.Sequential:
    """Return one head as torch's own modules, before any step."""
    layers: list[nn.Module] = []
    for weight, width in zip(model.weights, WIDTHS[1:], strict=True):
        last = width == WIDTHS[-1]
        linear = nn.Linear(weight.shape[2], width, bias=last)
        linear.weight.data = weight.data[head].clone()
        if last:
            linear.bias.data = model.bias.data[head].clone()
        layers += [linear] if last else [linear, nn.BatchNorm1d(width), nn.ReLU()]
    return nn.Sequential(*layers)


def train_plain(model: nn.Sequential, batches: list[Features], lr: float, decay: float) -> None:
    matrices = [p for p in model.parameters() if p.ndim == 2]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": matrices, "weight_decay": decay}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=lr)
    for step, batch in enumerate(batches):
        for module in model:
            if isinstance(module, nn.BatchNorm1d):
                module.momentum = max(0.1, 1 / (step + 1))
        for group in optimizer.param_groups:
            group["lr"] = lr * (1 - step / len(batches))
        optimizer.zero_grad()
        F.cross_entropy(model(batch.x), batch.y).backward()
        optimizer.step()


def test_each_head_is_what_torchs_own_modules_train() -> None:
    generator = torch.Generator().manual_seed(3)
    batches = [
        Features(torch.randn(20, 6, generator=generator), torch.randint(3, (20,), generator=generator))
        for _ in range(12)
    ]
    model = perceptron.Perceptrons(WIDTHS, 3, seed=1)
    singles = [plain(model, head) for head in range(3)]
    optimizer = perceptron.AdamW(model, LR, DECAY)
    for step, batch in enumerate(batches):
        perceptron.train_step(model, batch.x, batch.y, optimizer, 1 - step / len(batches))
    found = model.logits(batches[0].x)

    for head, single in enumerate(singles):
        train_plain(single, batches, float(LR[head]), float(DECAY[head]))
        expected = single.eval()(batches[0].x)

        assert torch.allclose(found[:, head], expected, atol=1e-5, rtol=1e-5)


def test_heads_start_alike_and_part_by_their_settings() -> None:
    model = perceptron.Perceptrons(WIDTHS, 3, seed=1)
    x, y = torch.randn(20, 6, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 3
    before = model.logits(x)
    perceptron.train_step(model, x, y, perceptron.AdamW(model, LR, DECAY), 1.0)
    after = model.logits(x)

    assert torch.allclose(before[:, 1], before[:, 0], atol=1e-6)
    assert not torch.allclose(after[:, 1], after[:, 0], atol=1e-3)


def test_the_held_out_rows_are_judged_as_torch_does() -> None:
    model, data = perceptron.Perceptrons((8, 5, 3), 2, seed=0), rings(2000, 0)
    logits = model.logits(data.x)[:, 1]
    top1, loss = model.judge(data.x, data.y)[:, 1].tolist()

    assert top1 == pytest.approx(100 * float((logits.argmax(1) == data.y).double().mean()))
    assert loss == pytest.approx(float(F.cross_entropy(logits, data.y)), abs=1e-6)


def test_what_is_held_at_a_time_is_bounded() -> None:
    assert perceptron.heads_at_once((512, 512, 10), 1024) >= 9
    assert perceptron.heads_at_once((2048, 8192, 8192, 1000), 1024) == 1


def test_small_sets_take_smaller_batches() -> None:
    found = [perceptron.step_rows(rows, 1024) for rows in (1, 20, 100, 1000, 50_000)]

    assert found == [2, 20, 32, 100, 1024]


def test_an_epoch_has_steps_enough_however_few_the_rows() -> None:
    for n in (1, 2, 3, 33, 319, 700):
        model = perceptron.Perceptrons((8, 4, 3), 1, seed=0)
        optimizer = perceptron.AdamW(model, torch.tensor([1e-3]), torch.tensor([0.0]))
        data = rings(n, 0)
        list(perceptron.descend(model, data.x, data.y, optimizer, epochs=1, batch_size=64, seed=0))

        assert optimizer.steps >= 10
        assert torch.isfinite(model.logits(data.x)).all()


def test_the_learning_rate_falls_along_half_a_cosine_over_all_epochs() -> None:
    shares = []

    class Watched(perceptron.AdamW):
        def step(self, gradients: Sequence[Tensor], share: float) -> None:
            shares.append(share)
            super().step(gradients, share)

    model, data = perceptron.Perceptrons((8, 4, 3), 1, seed=0), rings(60, 0)
    optimizer = Watched(model, torch.tensor([1e-3]), torch.tensor([0.0]))
    list(perceptron.descend(model, data.x, data.y, optimizer, epochs=3, batch_size=64, seed=0))
    total = len(shares)

    assert total >= 3 * 20
    assert shares == pytest.approx([(1 + math.cos(math.pi * step / total)) / 2 for step in range(total)])

"""A small network, a training of it, and gradients: what tests of optimisers share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from bench.contracts.recipe import Training


class OddNorm(nn.Module):
    """A norm layer that no list of names knows, with a scalar beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.gain, self.offset = nn.Parameter(torch.ones(6)), nn.Parameter(torch.zeros(6))
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * (x - x.mean(dim=0)) * self.gain + self.offset


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), OddNorm(), nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Linear(6, 3))


def training(optimizer: str = "lars", **changes: Any) -> Training:
    values = {
        "epochs": 10,
        "batch_size": 8,
        "image_size": 32,
        "precision": "float32",
        "optimizer": optimizer,
        "lr": 0.5,
        "weight_decay": 0.01,
        "momentum": 0.9,
        "warmup_epochs": 1.0,
    }
    return Training(**{**values, **changes})


def gradients(net: nn.Module, step: int) -> None:
    """Give every parameter a gradient that depends on the step and on where it is."""
    generator = torch.Generator().manual_seed(step)
    for p in net.parameters():
        p.grad = torch.randn(p.shape, generator=generator) + 0.1 * p.detach()

"""Check a backbone: images in, features of the declared dimension out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from bench.contracts.backbone import Backbone
from bench.testing.checks import Check, Outcome, alike, class_checks, require, run

IMAGES, SIDE = 4, 32


def outcomes(cls: type[Backbone], name: str, config: Any = None) -> Iterator[Outcome]:
    """Yield every check of a backbone with its error, or none."""
    yield from run(class_checks(cls, Backbone, name))
    for channels in (3, 1):
        yield from run(_checks(cls, name, config, channels))


def _checks(cls: type[Backbone], name: str, config: Any, channels: int) -> Iterator[Check]:
    made: list[Backbone] = []

    def build() -> None:
        chosen = cls.Config() if config is None else config
        cls.check(name, chosen, channels, SIDE)
        made.append(cls(name, chosen, channels, SIDE))

    images = torch.randn(IMAGES, channels, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    kind = f"{channels} x {SIDE} x {SIDE} images"
    yield f"{kind}: check() passes and it builds", build
    if made:
        backbone = made[0]
        yield f"{kind}: features are (n, dim), finite, float32", lambda: _features(backbone, images)
        yield f"{kind}: features are per sample when frozen", lambda: _per_sample(backbone, images)
        yield f"{kind}: every parameter gets a gradient", lambda: _gradient(backbone, images)


def _features(backbone: Backbone, images: Tensor) -> None:
    h = backbone(images)
    wanted = (len(images), backbone.dim)
    require(tuple(h.shape) == wanted, f"shape {tuple(h.shape)}, not {wanted}; pool, and set self.dim")
    require(h.dtype == torch.float32, f"they are {h.dtype}")
    require(bool(h.isfinite().all()), "they are not finite")


def _per_sample(backbone: Backbone, images: Tensor) -> None:
    frozen = backbone.eval()
    with torch.no_grad():
        whole, parts = frozen(images), torch.cat([frozen(images[:1]), frozen(images[1:])])
    backbone.train()
    require(alike(whole, parts), "features of an image change with the other images, or from call to call")


def _gradient(backbone: Backbone, images: Tensor) -> None:
    if not any(p.requires_grad for p in backbone.parameters()):
        return
    weights = torch.randn(backbone.dim, generator=torch.Generator().manual_seed(1))
    backbone.train()(images).matmul(weights).square().sum().backward()
    without = [name for name, p in backbone.named_parameters() if p.requires_grad and p.grad is None]
    require(not without, f"{', '.join(without[:3])}: none")

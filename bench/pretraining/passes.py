"""Count how many images a training step sends through the backbones of a method, and how often back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bench.contracts.backbone import Backbone
from bench.contracts.method import Method
from bench.system.ranks import Ranks

CALLS = ("forward", "tokens", "blocks")  # of a backbone, that take images


@dataclass
class Passes:
    """Images that went through backbones, in images of the run's size: one of half the side is a quarter.

    Args:
        forward: through any of the method's, a momentum network's too.
        backward: of these, those that a gradient was recorded for.
    """

    forward: float = 0.0
    backward: float = 0.0

    def over(self, ranks: Ranks) -> Passes:
        """Return those of all ranks together."""
        counts = [self.forward, self.backward]
        forward, backward = ranks.stack(torch.tensor(counts, dtype=torch.float64)).sum(0).tolist()
        return Passes(forward, backward)


@contextmanager
def count_passes(method: Method, image_size: int, passes: Passes) -> Iterator[None]:
    """Add to `passes` what goes through every backbone that is a part of `method`.

    Of a transformer that sees some patches only, an image counts as that share of one.

    Args:
        method: whose backbones are watched; a network that is no `Backbone` is not.
        image_size: of the run, in pixels.
        passes: is added to.
    """
    inside = False

    def counted(backbone: Backbone, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(images: Tensor, *args: Any, **kwargs: Any) -> Any:
            nonlocal inside
            if inside:  # a forward pass may ask for its own tokens
                return call(images, *args, **kwargs)
            inside = True
            try:
                result = call(images, *args, **kwargs)
            finally:
                inside = False
            seen = _count_images(images, image_size) * _share_seen(backbone, *args, **kwargs)
            passes.forward += seen
            if torch.is_grad_enabled() and any(p.requires_grad for p in backbone.parameters()):
                passes.backward += seen
            return result

        return run

    backbones = [module for module in method.modules() if isinstance(module, Backbone)]
    for backbone in backbones:
        for name in CALLS:
            backbone.__dict__[name] = counted(backbone, getattr(backbone, name))
    try:
        yield
    finally:
        for backbone in backbones:
            for name in CALLS:
                del backbone.__dict__[name]


def _count_images(images: Tensor, image_size: int) -> float:
    """Return images (n, channels, h, w) in images of the run's size."""
    return len(images) * images.shape[2] * images.shape[3] / image_size**2


def _share_seen(backbone: Backbone, keep: Any = None, *_args: Any, **_kwargs: Any) -> float:
    """Return the share of the patches that is kept, of what `tokens` is given beside the images."""
    grid = backbone.info.grid
    return keep.shape[1] / (grid[0] * grid[1]) if isinstance(keep, Tensor) and grid else 1.0

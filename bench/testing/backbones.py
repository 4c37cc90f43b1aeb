"""Check a backbone: images in, features of the declared dimension out, and whatever else it offers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from bench.contracts.backbone import Backbone, Normalisation, Tokens
from bench.errors import Unsupported
from bench.testing.checks import Check, Outcome, alike, class_checks, require, run

IMAGES, SIDE = 4, 32
OTHER_SIDE = 48  # of a view
MOST_BLOCKS = 2  # read at once


def outcomes(cls: type[Backbone], name: str, config: Any = None) -> Iterator[Outcome]:
    """Yield every check of a backbone with its error, or None."""
    yield from run(class_checks(cls, Backbone, name))
    for channels in (3, 1):
        yield from run(_checks(cls, name, config, channels))


def _checks(cls: type[Backbone], name: str, config: Any, channels: int) -> Iterator[Check]:
    built: list[Backbone] = []

    def build() -> None:
        chosen = cls.Config() if config is None else config
        cls.check(name, chosen, channels, SIDE)
        built.append(cls(name, chosen, channels, SIDE))

    images = _draw_images(channels, SIDE)
    kind = f"{channels} x {SIDE} x {SIDE} images"
    yield f"{kind}: check() passes and it builds", build
    if not built:
        return
    backbone = built[0]
    yield f"{kind}: features are (n, dim), finite, float32", lambda: _features(backbone, images)
    yield f"{kind}: features are per sample when frozen", lambda: _per_sample(backbone, images)
    yield f"{kind}: every parameter gets a gradient", lambda: _gradient(backbone, images)
    yield f"{kind}: about() is true of it", lambda: _info(backbone, images)
    for offer, body in _offers(backbone, images):
        yield f"{kind}: {offer}", body


def _offers(backbone: Backbone, images: Tensor) -> Iterator[Check]:
    """Yield the checks of what a backbone need not have, but says it has."""
    info = backbone.info
    if info.grid is not None:
        yield "tokens are per sample, of the shapes that about() says", lambda: _tokens(backbone, images)
        yield "tokens of kept patches see no other patch", lambda: _kept(backbone, images)
    if info.blocks:
        yield "its last blocks are per sample, each of one shape", lambda: _blocks(backbone, images)
    if _takes_size(backbone):
        yield f"views of {OTHER_SIDE} px give features, as check_size() says", lambda: _other_size(backbone)


def _draw_images(channels: int, side: int) -> Tensor:
    return torch.randn(IMAGES, channels, side, side, generator=torch.Generator().manual_seed(0))


def _features(backbone: Backbone, images: Tensor) -> None:
    h = backbone(images)
    expected = (len(images), backbone.dim)
    require(tuple(h.shape) == expected, f"shape {tuple(h.shape)}, not {expected}; pool, and set self.dim")
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


def _info(backbone: Backbone, images: Tensor) -> None:
    info = backbone.info
    name, config, channels, _ = backbone.built_for
    stated = backbone.normalisation(name, config, channels)
    require(stated is None or isinstance(stated, Normalisation), f"normalisation() returned {stated!r}")
    counted = len(stated.mean) if stated else channels
    require(counted == channels, f"normalisation() has {counted} channels, the images have {channels}")
    require(info.dim in (None, backbone.dim), f"dim is {info.dim}, but its features have {backbone.dim}")
    require(info.prefix >= int(info.class_token), "there is a class token, but prefix is 0")
    layers = backbone.parameter_layers()
    if layers is not None:
        unknown = layers.keys() ^ dict(backbone.named_parameters()).keys()
        require(not unknown, f"parameter_layers() and named_parameters() differ in {sorted(unknown)[:3]}")
        require(min(layers.values()) == 0, f"the layers of parameters start at {min(layers.values())}, not 0")


@torch.no_grad()
def _tokens(backbone: Backbone, images: Tensor) -> None:
    frozen, info = backbone.eval(), backbone.info
    tokens, first = frozen.tokens(images), frozen.tokens(images[:1])
    backbone.train()
    rows, columns = info.grid or (0, 0)
    for part, count in (("prefix", info.prefix), ("patches", rows * columns)):
        whole = getattr(tokens, part)
        expected = (len(images), count, info.token_dim)
        require(tuple(whole.shape) == expected, f"{part} are {tuple(whole.shape)}, about() says {expected}")
        require(alike(whole[:1], getattr(first, part)), f"{part} change with the other images")


@torch.no_grad()
def _kept(backbone: Backbone, images: Tensor) -> None:
    frozen, info = backbone.eval(), backbone.info
    rows, columns = info.grid or (0, 0)
    every = torch.arange(rows * columns).expand(len(images), -1)
    whole, all_kept = frozen.tokens(images), frozen.tokens(images, every)
    require(alike(whole.patches, all_kept.patches), "with all patches kept they are not those without keep")
    require(alike(whole.prefix, all_kept.prefix), "with all patches kept the prefix is not that without keep")
    changed = images.clone()
    patch = SIDE // rows
    changed[:, :, :patch, :patch] += 1  # the first patch
    before, after = frozen.tokens(images, every[:, 1:]), frozen.tokens(changed, every[:, 1:])
    backbone.train()
    require(before.patches.shape[1] == rows * columns - 1, f"there are {before.patches.shape[1]} of them")
    unseen = alike(before.patches, after.patches) and alike(before.prefix, after.prefix)
    require(unseen, "they change with a patch that is not kept")


@torch.no_grad()
def _blocks(backbone: Backbone, images: Tensor) -> None:
    frozen, count = backbone.eval(), min(MOST_BLOCKS, backbone.info.blocks)
    whole, first = frozen.blocks(images, count), frozen.blocks(images[:1], count)
    backbone.train()
    require(len(whole) == count, f"{count} were asked for, {len(whole)} came")
    for block, alone in zip(whole, first, strict=True):
        output = block.patches if isinstance(block, Tokens) else block
        single = alone.patches if isinstance(alone, Tokens) else alone
        dimensions = 3 if isinstance(block, Tokens) else 4
        require(output.ndim == dimensions, f"a block is {tuple(output.shape)}; return Tokens or (n, c, h, w)")
        require(alike(output[:1], single), "a block of an image changes with the other images")


def _takes_size(backbone: Backbone) -> bool:
    name, config, channels, side = backbone.built_for
    try:
        backbone.check_size(name, config, channels, side, OTHER_SIDE)
    except Unsupported:
        return False
    return True


@torch.no_grad()
def _other_size(backbone: Backbone) -> None:
    _features(backbone.eval(), _draw_images(backbone.built_for[2], OTHER_SIDE))
    backbone.train()

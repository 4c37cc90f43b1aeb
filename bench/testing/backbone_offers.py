"""Check what a backbone says of itself, and what it says it has: tokens, blocks, images of other sizes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from bench.contracts.backbone import Backbone, BackboneInfo, ForeignModel, Normalisation, Tokens
from bench.errors import Unsupported
from bench.testing.checks import Check, alike, require

IMAGES = 4
OTHER_SIDE = 48  # of a view
MOST_BLOCKS = 2  # read at once


def draw_images(channels: int, side: int) -> Tensor:
    """Return images of noise, (4, channels, side, side)."""
    return torch.randn(IMAGES, channels, side, side, generator=torch.Generator().manual_seed(0))


def offer_checks(backbone: Backbone, images: Tensor) -> Iterator[Check]:
    """Yield the checks of what a backbone says of itself, and of what it says that it has."""
    yield "about() is true of it", lambda: _info(backbone)
    info: Any = backbone.info
    if not isinstance(info, BackboneInfo):
        return
    if info.grid is not None:
        yield "tokens are per sample, of the shapes that about() says", lambda: _tokens(backbone, images)
        yield "tokens of kept patches see no other patch", lambda: _kept(backbone, images)
    if info.blocks:
        yield "its last blocks are per sample, each of one shape", lambda: _blocks(backbone, images)
    if _takes_size(backbone):
        yield f"views of {OTHER_SIDE} px give features, as check_size() says", lambda: _other_size(backbone)


def _info(backbone: Backbone) -> None:
    info = backbone.info
    require(isinstance(info, BackboneInfo), f"it returned {type(info).__name__}")
    name, config, channels, image_size = backbone.built_for
    stated = backbone.normalisation(name, config, channels)
    require(stated is None or isinstance(stated, Normalisation), f"normalisation() returned {stated!r}")
    counted = len(stated.mean) if stated else channels
    require(counted == channels, f"normalisation() has {counted} channels, the images have {channels}")
    require(info.dim in (None, backbone.dim), f"dim is {info.dim}, but its features have {backbone.dim}")
    require(info.prefix >= int(info.class_token), "there is a class token, but prefix is 0")
    notes = backbone.notes(name, config, channels, image_size)
    told = isinstance(notes, tuple) and all(isinstance(note, str) for note in notes)
    require(told, f"notes() returned {notes!r}; return a tuple of sentences")
    _layers(backbone)
    for library in ("timm", "torchvision"):
        _library(backbone, library)


def _layers(backbone: Backbone) -> None:
    layers = backbone.parameter_layers()
    if layers is not None:
        unknown = layers.keys() ^ dict(backbone.named_parameters()).keys()
        require(not unknown, f"parameter_layers() and named_parameters() differ in {sorted(unknown)[:3]}")
        require(min(layers.values()) == 0, f"the layers of parameters start at {min(layers.values())}, not 0")


def _library(backbone: Backbone, library: str) -> None:
    try:
        found = backbone.in_library(library)
    except Unsupported:
        return
    require(isinstance(found, ForeignModel), f"in_library({library!r}) returned {type(found).__name__}")


@torch.no_grad()
def _tokens(backbone: Backbone, images: Tensor) -> None:
    frozen, info = backbone.eval(), backbone.info
    tokens, first = frozen.tokens(images), frozen.tokens(images[:1])
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
    patch = images.shape[2] // rows
    changed[:, :, :patch, :patch] += 1  # the first patch
    before, after = frozen.tokens(images, every[:, 1:]), frozen.tokens(changed, every[:, 1:])
    require(before.patches.shape[1] == rows * columns - 1, f"there are {before.patches.shape[1]} of them")
    unseen = alike(before.patches, after.patches) and alike(before.prefix, after.prefix)
    require(unseen, "they change with a patch that is not kept")


@torch.no_grad()
def _blocks(backbone: Backbone, images: Tensor) -> None:
    frozen, info = backbone.eval(), backbone.info
    count = min(MOST_BLOCKS, info.blocks)
    whole, first = frozen.blocks(images, count), frozen.blocks(images[:1], count)
    require(len(whole) == count, f"{count} were asked for, {len(whole)} came")
    for block, alone in zip(whole, first, strict=True):
        output = block.patches if isinstance(block, Tokens) else block
        single = alone.patches if isinstance(alone, Tokens) else alone
        dimensions = 3 if isinstance(block, Tokens) else 4
        require(output.ndim == dimensions, f"a block is {tuple(output.shape)}; return Tokens or (n, c, h, w)")
        require(alike(output[:1], single), "a block of an image changes with the other images")
    last = whole[-1]
    side = None if isinstance(last, Tokens) else last.shape[2]
    unlike = side is not None and info.map_size not in (None, side)
    require(not unlike, f"its last map has a side of {side}, about() says map_size={info.map_size}")


def _takes_size(backbone: Backbone) -> bool:
    name, config, channels, side = backbone.built_for
    try:
        backbone.check_size(name, config, channels, side, OTHER_SIDE)
    except Unsupported:
        return False
    return True


@torch.no_grad()
def _other_size(backbone: Backbone) -> None:
    h = backbone.eval()(draw_images(backbone.built_for[2], OTHER_SIDE))
    expected = (IMAGES, backbone.dim)
    require(tuple(h.shape) == expected, f"shape {tuple(h.shape)}, not {expected}")
    require(bool(h.isfinite().all()), "they are not finite")

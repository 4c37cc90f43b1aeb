"""The tokens of timm's vision transformers, and the outputs of the last blocks of any timm model."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import timm.models
import torch
from timm.layers.pos_embed_sincos import apply_keep_indices_nlc
from timm.models.deit import VisionTransformerDistilled
from torch import Tensor, nn

from bench.api import BackboneInfo, Tokens, Unsupported

from .timm_shapes import CANNOT, build_meta_model, find_patch_embed, measure_model

# Their forward is: patches, positions, blocks, norm, pool. A subclass may do something else in between.
WITH_TOKENS = (timm.models.VisionTransformer, VisionTransformerDistilled, timm.models.Eva)


@functools.cache
def describe_model(name: str, stem: str, channels: int, image_size: int) -> BackboneInfo:
    """Return what is known of a model before it is built, by passes without memory.

    Raises:
        BadValue: as of `build_model`.
        Unsupported: the model does not run on images of this size.
    """
    dim, side = measure_model(name, stem, channels, image_size)
    net: Any = build_meta_model(name, stem, channels, image_size)
    blocks = _count_blocks(net, torch.empty(2, channels, image_size, image_size, device="meta"))
    if not has_tokens(net):
        return BackboneInfo(dim=dim, map_size=side, blocks=blocks)
    return BackboneInfo(
        dim=dim,
        map_size=side,
        grid=tuple(net.patch_embed.grid_size),
        patch_size=net.patch_embed.patch_size[0],
        token_dim=net.embed_dim,
        prefix=net.num_prefix_tokens,
        class_token=net.cls_token is not None,
        blocks=blocks,
    )


def has_tokens(net: nn.Module) -> bool:
    """Tell whether a model is a transformer whose patches and tokens correspond one to one."""
    return type(net) in WITH_TOKENS and find_patch_embed(net) is not None


def encode_tokens(net: Any, images: Tensor, keep: Tensor | None) -> Tokens:
    """Return the normalised tokens of the last block: those that the model pools.

    Args:
        net: a model that `has_tokens`.
        images: (n, channels, h, w).
        keep: (n, k), int64, the patches of each image that pass through the blocks; None is all.
    """
    x = net.forward_features(images) if keep is None else _encode_kept(net, images, keep)
    return _split(net, x)


def read_blocks(net: Any, images: Tensor, count: int) -> tuple[Tensor | Tokens, ...]:
    """Return the outputs of the last blocks or stages, the earliest first.

    Args:
        net: a model of timm.
        images: (n, channels, h, w).
        count: of blocks.

    Returns:
        For each block `Tokens`, normalised as the last ones, or a map (n, c, h, w).

    Raises:
        Unsupported: timm cannot give that many.
    """
    options: dict[str, Any] = {"indices": count, "intermediates_only": True}
    tokens = has_tokens(net)
    if tokens:
        options |= {"norm": True, "output_fmt": "NLC", "return_prefix_tokens": True}
    try:
        outputs = net.forward_intermediates(images, **options)
    except (AssertionError, AttributeError) as error:
        raise Unsupported(f"{type(net).__name__}: its last {count} blocks cannot be read.") from error
    if not tokens:
        return tuple(outputs)
    if not net.num_prefix_tokens:
        return tuple(Tokens(prefix=patches[:, :0], patches=patches) for patches in outputs)
    return tuple(Tokens(prefix=prefix, patches=patches) for patches, prefix in outputs)


def _split(net: Any, x: Tensor) -> Tokens:
    """Split a model's tokens (n, q + k, dim) into the q of its prefix and the patches."""
    return Tokens(prefix=x[:, : net.num_prefix_tokens], patches=x[:, net.num_prefix_tokens :])


def _encode_kept(net: Any, images: Tensor, keep: Tensor) -> Tensor:
    """Return what the blocks make of some patches, each with the position that it has in the image."""
    # the private method is where timm adds positions; its PatchDropout draws patches, and takes none
    embedded: Any = net._pos_embed(net.patch_embed(images))  # noqa: SLF001
    x, rope = embedded if isinstance(net, timm.models.Eva) else (embedded, None)
    tokens = _split(net, x)
    kept = tokens.patches.gather(1, keep[..., None].expand(-1, -1, x.shape[2]))  # (n, k, dim)
    x = net.norm_pre(torch.cat((tokens.prefix, kept), 1))
    if rope is None:
        for block in net.blocks:
            x = block(x)
    else:
        ropes = _ropes_of_kept(net, x, rope, keep)
        for index, block in enumerate(net.blocks):
            x = block(x, rope=ropes(index))
    normalised: Tensor = net.norm(x)
    return normalised


def _ropes_of_kept(net: Any, x: Tensor, rope: Tensor, keep: Tensor) -> Callable[[int], Tensor]:
    """Return what gives each block the rotations of the patches that it sees, as timm's Eva lays them out."""
    chosen: Tensor = apply_keep_indices_nlc(x, rope, keep)
    if getattr(net, "rope_mixed", False):  # a rotation for each block and head
        return lambda index: chosen[:, index]
    return lambda _index: chosen[:, None]  # one for all blocks and heads


def _count_blocks(net: Any, images: Tensor) -> int:
    """Return how many outputs of blocks a model on the meta device can give, 0 if none."""
    if not hasattr(net, "forward_intermediates"):
        return 0
    try:
        with torch.no_grad():
            return len(net.forward_intermediates(images, intermediates_only=True))
    except CANNOT:
        return 0

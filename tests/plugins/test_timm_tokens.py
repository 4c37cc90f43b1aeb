"""Tokens, blocks and view sizes of timm's models: what they say, and that features stay what they were."""

from __future__ import annotations

import copy
import functools
from typing import Any

import pytest
import timm
import torch
from torch import Tensor

from bench.contracts.backbone import BackboneInfo, Tokens
from bench.errors import Unsupported
from bench.registry.registry import Registry

Timm = Registry.load().load_class("backbones", "test_resnet")
TRANSFORMERS = [  # name and image size
    ("test_vit", 32),  # class token, pooled
    ("test_vit2", 16),  # mean of the patches
    ("test_vit3", 16),  # attention pooling
    ("vit_tiny_patch16_224", 16),
    ("deit3_small_patch16_224", 16),  # positions of the patches only
    ("eva02_tiny_patch14_224", 16),  # rotary positions
    ("vit_tiny_patch16_dinov3_qkvb", 16),  # and registers
    ("vit_small_patch16_rope_mixed_224", 16),  # rotary positions that differ by block
]
AFTER = ("net.fc_norm.", "net.attn_pool.")  # what pools the tokens


@functools.cache
def build(name: str, size: int) -> Any:
    """Return a backbone that several tests share: who changes it takes a copy."""
    torch.manual_seed(0)
    return Timm(name, Timm.Config(), 3, size).eval()


def sample_images(size: int, count: int = 3) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def join(tokens: Tokens) -> Tensor:
    return torch.cat((tokens.prefix, tokens.patches), 1)


def all_patches(backbone: Any, count: int = 3) -> Tensor:
    rows, columns = backbone.info.grid
    return torch.arange(rows * columns).expand(count, -1)


# ---- what is known before a model is built


@pytest.mark.parametrize(("name", "size"), TRANSFORMERS)
def test_a_transformer_is_described_as_it_is_built(name: str, size: int) -> None:
    info = Timm.about(name, Timm.Config(), 3, size)
    backbone = build(name, size)
    with torch.no_grad():
        tokens = backbone.tokens(sample_images(size, 1))

    assert backbone.info == info
    assert info.dim == backbone.dim
    assert info.grid == (size // info.patch_size, size // info.patch_size)
    assert info.map_size == info.grid[0]
    assert tokens.prefix.shape == (1, info.prefix, info.token_dim)
    assert tokens.patches.shape == (1, info.grid[0] * info.grid[1], info.token_dim)
    assert info.blocks == len(backbone.net.blocks)
    assert info.class_token == (backbone.net.cls_token is not None)


def test_registers_are_no_class_token() -> None:
    info = Timm.about("vit_wee_patch16_reg1_gap_256", Timm.Config(), 3, 32)

    assert (info.prefix, info.class_token) == (1, False)


def test_a_transformer_may_have_patches_only() -> None:
    backbone = build("vit_base_patch16_siglip_224", 16)
    with torch.no_grad():
        tokens, (block,) = backbone.tokens(sample_images(16, 1)), backbone.blocks(sample_images(16, 1), 1)

    assert (backbone.info.prefix, backbone.info.class_token) == (0, False)
    assert tokens.prefix.shape == block.prefix.shape == (1, 0, 768)
    assert torch.allclose(tokens.patches, block.patches, atol=1e-5)


def test_a_convolutional_network_has_a_map_and_no_tokens() -> None:
    info = Timm.about("resnet18", Timm.Config(), 3, 32)

    assert info == BackboneInfo(dim=512, map_size=4, blocks=5)
    with pytest.raises(Unsupported, match=r"^resnet18: it has no tokens\. Use a vision transformer\.$"):
        build("resnet18", 32).tokens(sample_images(32))


def test_a_transformer_whose_patches_are_mixed_before_its_blocks_offers_no_tokens() -> None:
    assert Timm.about("vit_tiny_r_s16_p8_224", Timm.Config(), 3, 64).grid is None
    assert Timm.about("beit_base_patch16_224", Timm.Config(), 3, 32).grid is None


# ---- tokens


@pytest.mark.parametrize(("name", "size"), TRANSFORMERS)
def test_features_are_pooled_from_the_tokens(name: str, size: int) -> None:
    backbone, images = build(name, size), sample_images(size)
    with torch.no_grad():
        pooled = backbone.net.forward_head(join(backbone.tokens(images)))

        assert torch.equal(pooled, backbone(images))


@pytest.mark.parametrize(("name", "size"), TRANSFORMERS)
def test_all_patches_in_order_are_all_tokens(name: str, size: int) -> None:
    backbone, images = build(name, size), sample_images(size)
    with torch.no_grad():
        kept = backbone.tokens(images, all_patches(backbone))

        assert torch.allclose(join(kept), join(backbone.tokens(images)), atol=1e-5)


@pytest.mark.parametrize(("name", "size"), TRANSFORMERS)
def test_the_order_of_the_kept_patches_is_that_of_their_tokens(name: str, size: int) -> None:
    """Positions go with the patches: a transformer knows no other order."""
    backbone, images = build(name, size), sample_images(size)
    patches = all_patches(backbone)
    order = torch.stack([torch.randperm(patches.shape[1]) for _ in images])
    with torch.no_grad():
        straight, shuffled = backbone.tokens(images, patches), backbone.tokens(images, order)
    moved = straight.patches.gather(1, order[..., None].expand_as(straight.patches))

    assert torch.allclose(shuffled.patches, moved, atol=1e-5)
    assert torch.allclose(shuffled.prefix, straight.prefix, atol=1e-5)


@pytest.mark.parametrize(("name", "size"), TRANSFORMERS)
def test_patches_that_are_not_kept_have_no_effect(name: str, size: int) -> None:
    backbone, images = build(name, size), sample_images(size)
    side = backbone.info.patch_size
    keep = all_patches(backbone)[:, 1:6]  # not the first
    changed = images.clone()
    changed[:, :, :side, :side] = 9.0
    with torch.no_grad():
        before, after = backbone.tokens(images, keep), backbone.tokens(changed, keep)

    assert before.patches.shape == (3, 5, backbone.info.token_dim)
    assert torch.equal(join(before), join(after))
    assert not torch.allclose(join(before), join(backbone.tokens(images))[:, : join(before).shape[1]])


def test_kept_patches_are_encoded_as_by_hand() -> None:
    backbone, images = build("vit_tiny_patch16_224", 32), sample_images(32, 2)
    net, keep = backbone.net, torch.tensor([[3, 60, 7], [0, 1, 2]])
    patches = net.patch_embed.proj(images).flatten(2).transpose(1, 2) + net.pos_embed[:, 1:]
    for image in range(2):
        x = torch.stack([net.cls_token[0, 0] + net.pos_embed[0, 0], *patches[image, keep[image]]])[None]
        for block in net.blocks:
            x = block(x)

        assert torch.allclose(net.norm(x), join(backbone.tokens(images, keep))[image], atol=1e-5)


@pytest.mark.parametrize(("name", "size"), TRANSFORMERS)
def test_gradients_flow_through_kept_tokens(name: str, size: int) -> None:
    backbone = copy.deepcopy(build(name, size))
    keep = all_patches(backbone)[:, ::3]
    join(backbone.tokens(sample_images(size), keep)).square().sum().backward()
    without = [n for n, p in backbone.named_parameters() if p.grad is None and not n.startswith(AFTER)]

    assert not without


# ---- blocks


@pytest.mark.parametrize(("name", "size"), TRANSFORMERS)
def test_the_last_block_of_a_transformer_is_its_tokens(name: str, size: int) -> None:
    backbone, images = build(name, size), sample_images(size, 1)
    with torch.no_grad():
        *_, last = backbone.blocks(images, 2)

        assert torch.allclose(join(last), join(backbone.tokens(images)), atol=1e-5)


def test_earlier_blocks_are_normalised_as_the_last_one() -> None:
    backbone, images = build("test_vit", 32), sample_images(32)
    net = backbone.net
    x = net.norm_pre(net._pos_embed(net.patch_embed(images)))  # noqa: SLF001
    expected = []
    for block in net.blocks:
        x = block(x)
        expected.append(net.norm(x))
    found = backbone.blocks(images, len(expected))

    assert len(found) == len(expected) > 2
    assert all(torch.allclose(join(a), b, atol=1e-5) for a, b in zip(found, expected, strict=True))


def test_the_last_stages_of_a_convolutional_network_are_maps() -> None:
    backbone, images = build("resnet18", 32), sample_images(32)
    with torch.no_grad():
        third, fourth = backbone.blocks(images, 2)

        assert third.shape == (3, 256, 8, 8)
        assert torch.allclose(fourth.mean((2, 3)), backbone(images), atol=1e-5)


def test_more_blocks_than_there_are_are_refused() -> None:
    with pytest.raises(Unsupported, match="its last 9 blocks cannot be read"):
        build("resnet18", 32).blocks(sample_images(32), 9)


# ---- views of other sizes


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "test_vit"])
def test_a_transformer_takes_views_of_other_sizes_by_interpolated_positions(name: str) -> None:
    from timm.layers import resample_abs_pos_embed

    backbone = build(name, 32)
    net, patch = backbone.net, backbone.info.patch_size
    Timm.check_size(name, Timm.Config(), 3, 32, 4 * patch)
    small = copy.deepcopy(backbone)
    with torch.no_grad():
        positions = resample_abs_pos_embed(net.pos_embed, new_size=(4, 4), num_prefix_tokens=1)
        small.net.pos_embed = torch.nn.Parameter(positions)
        small.net.patch_embed.grid_size = (4, 4)
        images = sample_images(4 * patch)

        assert backbone.tokens(images).patches.shape[1] == 16
        assert torch.allclose(backbone(images), small(images), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "size"),
    [("vit_tiny_patch16_224", 16), ("deit3_small_patch16_224", 16), ("test_vit2", 16)],
)
def test_at_the_size_built_for_every_bit_is_timms_own(name: str, size: int) -> None:
    """That a transformer can take other sizes changes no feature, gradient or name of a weight."""
    backbone = copy.deepcopy(build(name, size))
    options = {"num_classes": 0, "img_size": size, "patch_size": backbone.info.patch_size}
    plain = timm.create_model(name, **options, dynamic_img_size=False).eval()
    plain.load_state_dict(backbone.net.state_dict())
    images = sample_images(size)
    features, expected = backbone(images), plain(images)
    features.square().sum().backward()
    expected.square().sum().backward()

    assert torch.equal(features, expected)
    pairs = zip(backbone.net.named_parameters(), plain.named_parameters(), strict=True)
    for (own_name, own), (timms_name, timms) in pairs:
        assert own_name == timms_name
        assert (own.grad is None and timms.grad is None) or torch.equal(own.grad, timms.grad)


@pytest.mark.parametrize(
    ("name", "size"), [("resnet18", 48), ("test_efficientnet", 48), ("test_convnext", 96)]
)
def test_a_convolutional_network_takes_views_of_other_sizes(name: str, size: int) -> None:
    Timm.check_size(name, Timm.Config(), 3, 64, size)
    backbone = build(name, 64)
    with torch.no_grad():
        assert backbone(sample_images(size)).shape == (3, backbone.dim)


def test_views_that_leave_no_map_are_refused() -> None:
    reason = r"^resnet18, built for 32 px, shrinks 8 px to a last map of 1x1\. Set larger views, or"
    with pytest.raises(Unsupported, match=reason):
        Timm.check_size("resnet18", Timm.Config(), 3, 32, 8)

    Timm.check_size("resnet18", Timm.Config(), 3, 32, 16)
    Timm.check_size("resnet18", Timm.Config(stem="standard"), 3, 32, 16)


@pytest.mark.parametrize(
    ("name", "size", "reason"),
    [
        ("vit_tiny_patch16_224", 30, "should be divisible by patch size"),
        ("eva02_tiny_patch14_224", 16, "doesn't match model"),
        ("mixer_s16_224", 16, "doesn't match model"),
    ],
)
def test_a_family_that_takes_one_size_only_says_so(name: str, size: int, reason: str) -> None:
    with pytest.raises(
        Unsupported, match=rf"^{name}, built for 64 px, does not run on {size} px: .*{reason}"
    ):
        Timm.check_size(name, Timm.Config(), 3, 64, size)


# ---- layers


def test_the_layers_of_a_transformer_run_from_its_patches_to_its_last_block() -> None:
    backbone = build("test_vit", 32)
    layers = backbone.parameter_layers()
    depth = len(backbone.net.blocks)

    assert layers.keys() == dict(backbone.named_parameters()).keys()
    assert layers["net.patch_embed.proj.weight"] == layers["net.pos_embed"] == layers["net.cls_token"] == 0
    assert [layers[f"net.blocks.{i}.attn.qkv.weight"] for i in range(depth)] == list(range(1, depth + 1))
    assert layers["net.norm.weight"] == max(layers.values()) == depth


def test_the_layers_of_a_resnet_run_from_its_stem_to_its_last_block() -> None:
    layers = build("resnet18", 32).parameter_layers()

    assert layers["net.conv1.weight"] == 0
    assert 0 < layers["net.layer1.0.conv1.weight"] < layers["net.layer1.1.conv1.weight"]
    assert layers["net.layer4.1.conv2.weight"] == max(layers.values())

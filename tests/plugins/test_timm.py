"""timm's models: a stem and patches that suit the images, features of the dimension declared."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import pytest
import timm
import torch
from torch import nn

from bench.errors import BadValue, Unsupported
from bench.registry.registry import Registry

Timm = Registry.load().load_class("backbones", "test_resnet")


def shape(name: str, size: int = 32, channels: int = 3, **config: Any) -> Any:
    """Return the backbone without memory: enough to look at its layers."""
    with torch.device("meta"):
        return Timm(name, Timm.Config(**config), channels, size)


def made(name: str = "test_resnet", size: int = 32, channels: int = 3, **config: Any) -> Any:
    torch.manual_seed(0)
    return Timm(name, Timm.Config(**config), channels, size).eval()


def check(name: str, size: int = 32, channels: int = 3, **config: Any) -> None:
    Timm.check(name, Timm.Config(**config), channels, size)


def stem(conv: nn.Conv2d) -> tuple[Any, ...]:
    return conv.kernel_size, conv.stride, conv.padding, conv.bias is not None


# ---- stems


@pytest.mark.parametrize("size", [28, 32, 64])
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_a_resnet_on_small_images_has_simclrs_stem(name: str, size: int) -> None:
    net = shape(name, size).net

    assert stem(net.conv1) == ((3, 3), (1, 1), (1, 1), False)
    assert isinstance(net.maxpool, nn.Identity)


def test_the_first_maps_of_a_small_stem_are_as_large_as_the_image() -> None:
    for name in ("resnet18", "resnet10t"):
        net = shape(name).net
        first = net.maxpool(net.conv1(torch.empty(2, 3, 32, 32, device="meta")))

        assert first.shape[2:] == (32, 32)


def test_a_deep_stem_loses_its_stride_and_max_pool() -> None:
    net, standard = shape("resnet10t").net, shape("resnet10t", stem="standard").net

    assert stem(net.conv1[0]) == ((3, 3), (1, 1), (1, 1), False)
    assert isinstance(net.maxpool, nn.Identity)
    assert net.conv1[0].weight.shape == standard.conv1[0].weight.shape


def test_an_efficientnet_loses_the_stride_of_its_stem() -> None:
    assert shape("test_efficientnet").net.conv_stem.stride == (1, 1)
    assert shape("test_efficientnet", 96).net.conv_stem.stride == (2, 2)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
@pytest.mark.parametrize(("size", "config"), [(65, {}), (224, {}), (32, {"stem": "standard"})])
def test_a_standard_stem_is_timms(name: str, size: int, config: dict[str, Any]) -> None:
    net = shape(name, size, **config).net

    assert stem(net.conv1) == ((7, 7), (2, 2), (3, 3), False)
    assert isinstance(net.maxpool, nn.MaxPool2d)


def test_a_small_stem_may_be_asked_for_on_large_images() -> None:
    assert shape("resnet18", 96, stem="small").net.conv1.stride == (1, 1)


def test_a_small_stem_is_refused_where_none_is_known() -> None:
    with pytest.raises(BadValue, match=r"vgg11: backbone.stem=small is not known for its family"):
        check("vgg11", stem="small")


def test_a_last_map_of_one_pixel_is_refused_with_what_to_set() -> None:
    with pytest.raises(
        Unsupported, match=r"vgg11 shrinks 32 px to a last map of 1x1. Set a larger --image-size"
    ):
        check("vgg11")
    with pytest.raises(Unsupported, match=r"resnet18 shrinks 8 px .* or backbone.stem=standard"):
        check("resnet18", 8)

    check("vgg11", stem="standard")
    check("resnet18", stem="standard")
    check("vgg11", 64)


def test_the_small_stem_is_initialised_as_the_others_are() -> None:
    weight = made("resnet18").net.conv1.weight.detach()

    assert float(weight.std()) == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.1)


# ---- patches


@pytest.mark.parametrize(
    ("name", "size", "patch"),
    [
        *[
            ("vit_tiny_patch16_224", *case)
            for case in ((8, 1), (28, 2), (32, 4), (64, 8), (96, 12), (224, 16))
        ],
        *[("test_vit", *case) for case in ((16, 2), (32, 4), (48, 6))],
        *[("deit_tiny_patch16_224", *case) for case in ((32, 4), (224, 16))],
        ("vit_base_patch32_224", 224, 32),  # its own, at its own size
    ],
)
def test_a_transformer_gets_at_least_8_by_8_tokens(name: str, size: int, patch: int) -> None:
    embed = shape(name, size).net.patch_embed

    assert embed.patch_size == (patch, patch)
    assert embed.num_patches == (size // patch) ** 2
    assert embed.num_patches >= (49 if patch == 32 else 64)


def test_a_transformer_with_the_standard_stem_keeps_its_patches() -> None:
    assert shape("vit_tiny_patch16_224", 32, stem="standard").net.patch_embed.patch_size == (16, 16)


@pytest.mark.parametrize(("size", "stride"), [(16, 1), (32, 1), (64, 2), (96, 4), (224, 4)])
def test_a_convnext_gets_a_patch_that_leaves_it_a_map(size: int, stride: int) -> None:
    first = shape("convnext_atto", size).net.stem[0]

    assert first.stride == first.kernel_size == (stride, stride)
    check("convnext_atto", size)


def test_a_mixer_is_told_the_size_of_its_images() -> None:
    mixer = shape("mixer_s16_224", 64)

    assert mixer.net.stem.img_size == (64, 64)
    assert mixer.net.stem.patch_size == (16, 16)  # timm's name for it fixes the patch
    with pytest.raises(Unsupported, match="mixer_s16_224 shrinks 16 px to a last map of 1x1"):
        check("mixer_s16_224", 16)


def test_a_family_that_takes_no_image_size_is_not_told_one() -> None:
    check("pvt_v2_b0", 64)

    assert "img_size" not in inspect.signature(type(shape("pvt_v2_b0", 64).net)).parameters


# ---- sizes, channels, dimensions


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("name", "size"),
    [
        *[("test_resnet", size) for size in (8, 28, 64, 224)],
        *[("test_vit", size) for size in (8, 28, 64, 224)],
        *[("test_convnext", size) for size in (16, 28, 96)],
        *[("test_efficientnet", size) for size in (32, 96)],
    ],
)
def test_features_are_of_the_dimension_declared(name: str, size: int, channels: int) -> None:
    backbone = made(name, size, channels, stem="standard" if size == 8 and name == "test_resnet" else "auto")
    with torch.no_grad():
        features = backbone(torch.rand(2, channels, size, size))

    assert features.shape == (2, backbone.dim)
    assert features.dtype == torch.float32
    assert bool(features.isfinite().all())


@pytest.mark.parametrize(
    ("name", "dim"),
    [
        ("resnet18", 512), ("resnet50", 2048), ("resnet10t", 512), ("vit_tiny_patch16_224", 192),
        ("convnext_atto", 320), ("mobilenetv3_small_100", 1024), ("test_vit", 64),
    ],
)  # fmt: skip
def test_dimensions_are_timms(name: str, dim: int) -> None:
    assert shape(name).dim == dim


def test_a_model_that_cannot_run_at_a_size_is_unsupported_and_says_why() -> None:
    with pytest.raises(Unsupported, match=r"inception_v3 does not run on 32 px: .*[Kk]ernel size"):
        check("inception_v3")


def test_a_model_that_gives_no_vector_is_unsupported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timm, "create_model", functools.partial(timm.create_model, global_pool=""))

    with pytest.raises(Unsupported, match="test_vit does not pool its features to a vector an image"):
        check("test_vit", 40)


def test_a_bad_name_gets_a_suggestion() -> None:
    with pytest.raises(BadValue, match=r"timm: it has no model named 'resnet81'. Did you mean 'resnet18'"):
        check("resnet81")


def test_planning_changes_no_random_number() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    check("resnet26", 32)

    assert torch.equal(torch.get_rng_state(), before)


def test_the_same_seed_gives_the_same_weights() -> None:
    pairs = zip(made().state_dict().items(), made().state_dict().items(), strict=True)

    assert all(torch.equal(a, b) for (_, a), (_, b) in pairs)


# ---- sides that do not divide


@pytest.mark.parametrize(
    ("name", "size", "near"),
    [
        ("vit_tiny_patch16_224", 97, "--image-size 96: patches of 12 px, 64 tokens."),
        ("vit_tiny_patch16_224", 94, "--image-size 96: patches of 12 px, 64 tokens."),
        ("vit_tiny_patch16_224", 227, "--image-size 224: patches of 16 px, 196 tokens."),
        ("swin_tiny_patch4_window7_224", 97, "--image-size 96: patches of 4 px, 576 tokens."),
    ],
)
def test_a_side_that_only_tiny_patches_tile_is_unsupported_and_the_nearest_is_named(
    name: str, size: int, near: str
) -> None:
    with pytest.raises(Unsupported, match=f"{size} px can be tiled with patches of [12] px alone.*{near}"):
        Timm.check(name, Timm.Config(), 3, size)


@pytest.mark.parametrize("size", [17, 23, 31])
def test_small_odd_images_keep_their_patches_of_one_pixel(size: int) -> None:
    assert shape("vit_tiny_patch16_224", size).net.patch_embed.patch_size == (1, 1)


def test_patches_that_are_not_the_models_own_are_said() -> None:
    assert Timm.notes("vit_tiny_patch16_224", Timm.Config(), 3, 32) == (
        "vit_tiny_patch16_224: on 32 px its patches are 4x4 px, 8x8 tokens; its own are 16 px.",
    )
    assert Timm.notes("vit_tiny_patch16_224", Timm.Config(), 3, 224) == ()
    assert Timm.notes("resnet18", Timm.Config(), 3, 97) == ()


def test_many_tokens_are_warned_of() -> None:
    (note,) = Timm.notes("vit_tiny_patch16_224", Timm.Config(), 3, 1008)

    assert "1008 px are 3,969 tokens an image, 20 times as many as it is made for." in note


@pytest.mark.parametrize(("size", "near"), [(97, 96), (90, 96), (87, 80), (5, 16)])
def test_patches_that_stay_the_models_own_are_said_to_tile_another_side(size: int, near: int) -> None:
    with pytest.raises(
        Unsupported, match=f"does not run on {size} px: .* Its patches of 16 px tile {near} px."
    ):
        Timm.check("vit_tiny_patch16_224", Timm.Config(stem="standard"), 3, size)

"""The backbone is found in what other libraries save, and what is wrong with a file is one line."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from bench.errors import BadValue
from bench.registry.registry import Registry

Timm = Registry.load().load_class("backbones", "test_resnet")


def state_of(name: str = "test_resnet", seed: int = 1, size: int = 32, **config: Any) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return dict(Timm(name, Timm.Config(**config), 3, size).net.state_dict())


def under(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in state.items()}


def notes(path: Path, name: str = "test_resnet", size: int = 32, **config: Any) -> tuple[str, ...]:
    found: tuple[str, ...] = Timm.notes(name, Timm.Config(weights=str(path), **config), 3, size)
    return found


def assert_is(path: Path, state: Mapping[str, Tensor]) -> None:
    config = Timm.Config(weights=str(path))
    Timm.check("test_resnet", config, 3, 32)
    loaded = Timm("test_resnet", config, 3, 32).net.state_dict()

    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[name], value) for name, value in state.items())


OTHER = {"projector.0.weight": torch.ones(4, 4), "projector.0.bias": torch.ones(4)}
BACKBONE, SECOND = state_of(), state_of(seed=2)
LAYOUTS: dict[str, tuple[Any, str]] = {
    "lightning": (
        {"state_dict": {**under("model.backbone.", BACKBONE), **under("model.", OTHER)}, "epoch": 3},
        "model.backbone. taken off their names; left out: model.projector.…",
    ),
    "solo-learn": (
        {"state_dict": {**under("momentum_backbone.", SECOND), **under("backbone.", BACKBONE)}},
        "backbone. taken off their names; left out: momentum_backbone.conv1.…",
    ),
    "dino": (
        {
            "student": under("module.backbone.", SECOND),
            "teacher": {**under("backbone.", BACKBONE), "head.last_layer.weight_v": torch.ones(2, 2)},
            "epoch": 9,
            "args": argparse.Namespace(arch="resnet"),
        },
        "of teacher are the backbone, backbone. taken off their names; left out: head.last_layer.…",
    ),
    "moco": (
        {
            "arch": "resnet",
            "state_dict": {
                **under("module.encoder_k.", SECOND),
                **under("module.encoder_q.", BACKBONE),
                "module.queue": torch.ones(3, 3),
            },
        },
        "module.encoder_q. taken off their names; left out: module.encoder_k.…",
    ),
    "mocov3": (
        {
            "state_dict": {
                **under("module.momentum_encoder.", SECOND),
                **under("module.base_encoder.", BACKBONE),
            }
        },
        "module.base_encoder. taken off their names",
    ),
    "byol": (
        {
            "online_network": 1,
            "state_dict": {**under("target_encoder.", SECOND), **under("online_encoder.", BACKBONE)},
        },
        "online_encoder. taken off their names",
    ),
    "data parallel": (under("module.", BACKBONE), "are the backbone, module. taken off their names."),
    "compiled": (
        {"model": under("_orig_mod.", BACKBONE)},
        "of model are the backbone, _orig_mod. taken off their names.",
    ),
    "compiled inside": (
        under("module.net._orig_mod.", BACKBONE),
        "module.net._orig_mod. taken off their names.",
    ),
    "ema": ({"state_dict": SECOND, "state_dict_ema": BACKBONE}, "of state_dict_ema are the backbone."),
    "nested twice": (
        {"checkpoint": {"model": under("encoder.", BACKBONE)}},
        "of checkpoint.model are the backbone, encoder.",
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_backbone_is_found_in_what_others_save_and_it_is_said(tmp_path: Path, layout: str) -> None:
    content, said = LAYOUTS[layout]
    torch.save(content, tmp_path / "w.ckpt")

    assert_is(tmp_path / "w.ckpt", BACKBONE)
    (note,) = (line for line in notes(tmp_path / "w.ckpt") if line.startswith("w.ckpt: "))
    assert f"{len(BACKBONE)} tensors" in note
    assert said in note


@pytest.mark.parametrize("content", [BACKBONE, {"state_dict": BACKBONE}, under("net.", BACKBONE)])
def test_nothing_is_said_of_a_plain_state_dict(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "w.pth")

    assert notes(tmp_path / "w.pth") == ()


def test_safetensors_are_known_by_their_content(tmp_path: Path) -> None:
    save_file({name: value.contiguous() for name, value in BACKBONE.items()}, tmp_path / "w.bin")

    assert_is(tmp_path / "w.bin", BACKBONE)


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    broken = {**BACKBONE, "conv1.0.weight": BACKBONE["conv1.0.weight"] / 0}
    torch.save(broken, tmp_path / "w.pth")

    with pytest.raises(BadValue, match=r"^w.pth: values of conv1.0.weight are infinite or not a number"):
        Timm.check("test_resnet", Timm.Config(weights=str(tmp_path / "w.pth")), 3, 32)


def test_values_beside_the_backbone_may_be_anything(tmp_path: Path) -> None:
    torch.save({**under("module.", BACKBONE), "centre": torch.tensor([float("nan")])}, tmp_path / "w.pth")

    assert_is(tmp_path / "w.pth", BACKBONE)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 94582\n",
            "it is a Git LFS pointer. Run",
        ),
        (b"<!DOCTYPE html><html>404</html>", "it is a web page. Download the file itself."),
        (b"", r"not a checkpoint that can be read \("),
    ],
)
def test_what_is_no_checkpoint_is_said_to_be_what_it_is(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "w.pth").write_bytes(content)

    with pytest.raises(BadValue, match=said) as caught:
        Timm.check("test_resnet", Timm.Config(weights=str(tmp_path / "w.pth")), 3, 32)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            nn.Linear(2, 2),
            "it has Python objects (torch.nn.modules.linear.Linear), which could run anything.",
        ),
        ({"epoch": 3, "args": {"lr": 0.1}}, "it has no tensors. Save the state_dict() of one network."),
        (
            {"a": BACKBONE, "b": SECOND},
            "it has 2 sets of weights (a, b). Save the state_dict() of one network.",
        ),
    ],
)
def test_what_cannot_be_told_is_one_line(tmp_path: Path, content: Any, said: str) -> None:
    torch.save(content, tmp_path / "w.pth")

    with pytest.raises(BadValue) as caught:
        Timm.check("test_resnet", Timm.Config(weights=str(tmp_path / "w.pth")), 3, 32)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_positions_are_resampled_for_images_of_another_size(tmp_path: Path) -> None:
    state = state_of("test_vit", size=160, stem="standard")
    torch.save(under("backbone.", state), tmp_path / "w.pth")
    config = Timm.Config(weights=str(tmp_path / "w.pth"), stem="standard")
    Timm.check("test_vit", config, 3, 96)
    loaded = Timm("test_vit", config, 3, 96).net.state_dict()
    said = notes(tmp_path / "w.pth", "test_vit", 96, stem="standard")

    assert loaded["pos_embed"].shape == (1, 37, 64)
    assert torch.equal(loaded["pos_embed"][:, 0], state["pos_embed"][:, 0])
    assert all(torch.equal(loaded[name], value) for name, value in state.items() if name != "pos_embed")
    assert said[-1] == "w.pth: pos_embed is resampled from (1, 101, 64) to (1, 37, 64)."


def test_other_shapes_are_refused_with_both(tmp_path: Path) -> None:
    torch.save(state_of(), tmp_path / "w.pth")

    with pytest.raises(
        BadValue, match=r"conv1.0.weight \(conv1.0.weight: \(16, 3, 3, 3\), not \(16, 1, 3, 3\)\)"
    ):
        Timm.check("test_resnet", Timm.Config(weights=str(tmp_path / "w.pth")), 1, 32)

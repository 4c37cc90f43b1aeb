"""Trainings of a few steps on a device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench.augmentation.view import View
from bench.contracts.dataset import Images
from bench.contracts.dataset_info import DatasetInfo
from bench.contracts.method import Method
from bench.contracts.recipe import Training
from bench.pretraining.loop import pretrain
from bench.pretraining.training_run import TrainingRun
from bench.registry.registry import Registry

SIDE, BATCH = 16, 32
INFO = DatasetInfo(classes=("a", "b", "c", "d"), channels=3, size=SIDE)
VIEW = View(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, blur=0.5, solarise=0.2, affine=0.3)
RATES = {"lars": 0.05, "sgd": 0.01, "adamw": 1e-3}


class Stopped(Exception):
    """Stands for the end of a process."""


def draw_pixels(count: int, side: int = SIDE) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=generator)


def draw_images(count: int, device: torch.device) -> Images:
    return Images(draw_pixels(count), torch.arange(count) % 4).resident(device)


def build_method(device: torch.device, name: str = "simclr") -> Method:
    torch.manual_seed(0)
    registry = Registry.load()
    backbones, methods = registry.load_class("backbones", "test_resnet"), registry.load_class("methods", name)
    backbone = backbones("test_resnet", backbones.Config(), 3, SIDE)
    method: Method = methods(backbone, backbone.dim, methods.Config(), INFO)
    return method.to(device).train()


def describe_run(device: torch.device, folder: Path, **changes: Any) -> TrainingRun:
    folder.mkdir(parents=True, exist_ok=True)
    optimizer = changes.get("optimizer", "lars")
    settings: dict[str, Any] = {
        "epochs": 3, "batch_size": BATCH, "image_size": SIDE, "precision": "float32", "optimizer": optimizer,
        "lr": RATES[optimizer], "weight_decay": 1e-4, "momentum": 0.9, "warmup_epochs": 0.0,
    }  # fmt: skip
    return TrainingRun(
        what="a run", key="key", training=Training(**{**settings, **changes}), views=(VIEW, VIEW),
        mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3), seed=0, device=device, folder=folder, live=False,
    )  # fmt: skip


def train(device: torch.device, folder: Path, stop_after: int | None = None, **changes: Any) -> Method:
    """Return a network that was trained, by one process or by two."""
    images = draw_images(3 * BATCH, device)
    run = replace(describe_run(device, folder, **changes), checkpoint_every_s=-1.0)

    def stop(epoch: int, _metrics: Any) -> None:
        if epoch == stop_after:
            raise Stopped

    if stop_after is not None:
        with contextmanager(expect_stop)():
            pretrain(build_method(device), images, replace(run, on_epoch=stop))
    method = build_method(device)
    pretrain(method, images, run)
    return method


def expect_stop() -> Iterator[None]:
    try:
        yield
    except Stopped:
        return
    raise AssertionError("it was not stopped")


def furthest(one: nn.Module, other: nn.Module) -> float:
    """Return the largest difference of two networks; 0 is to the bit."""
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return max(float((a.float() - b.float()).abs().max()) for a, b in pairs)

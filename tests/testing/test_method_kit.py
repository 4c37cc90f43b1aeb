"""The conformance kit finds what a method does wrong."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.api import (
    Batch,
    DatasetInfo,
    Embeddings,
    Method,
    Recipe,
    Step,
    Training,
    Unsupported,
    View,
)
from bench.testing import check, check_method


class Plain(Method):
    """Pull two views together."""

    recipe = Recipe(optimizer="sgd", lr=0.1, lr_scaling="none", weight_decay=0, source="a test")

    @classmethod
    def views(cls, config: Any, data: DatasetInfo, image_size: int) -> tuple[View, ...]:
        return (View(), View())

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        return {"a": self.backbone(views[0]), "b": self.backbone(views[1])}

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        return {"distance": (embeddings["a"] - embeddings["b"]).square().mean()}


class Mixing(Plain):
    """Subtract the batch's mean in embed."""

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        return {name: h - h.mean(dim=0) for name, h in super().embed(views, batch).items()}


class Moving(Plain):
    """Move a momentum network's weight in embed."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.momentum = nn.Parameter(torch.zeros(1), requires_grad=False)

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        self.momentum += 1
        return super().embed(views, batch)


class Detached(Plain):
    """Lose the gradient to the backbone."""

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        return super().terms({k: h.detach().requires_grad_() for k, h in embeddings.items()}, batch)


class Vector(Plain):
    """Return a loss an image."""

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        return {"distance": (embeddings["a"] - embeddings["b"]).square().mean(dim=1)}


class Peeking(Plain):
    """Look at labels without saying so."""

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        return {"peek": (embeddings["a"].mean(dim=1) * batch.labels).sum() * 100}


class Drawing(Plain):
    """Weigh the distance by a number that is drawn for each loss."""

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        return {"distance": torch.rand(()) * super().terms(embeddings, batch)["distance"]}


class Hasty(Plain):
    """Move a centre before the gradient is there."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.register_buffer("centre", torch.zeros(16))

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        self.centre.lerp_(embeddings["a"].detach().mean(dim=0), 0.1)
        return super().terms(embeddings, batch)


class Restless(Plain):
    """Draw from torch's global state."""

    def draw(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        return {"mask": torch.rand(count, 4)}


class Shrunk(Plain):
    """Say that another network is the result."""

    def export(self) -> nn.Module:
        return nn.Linear(3, 2)


class Leaking(Plain):
    """Let the images of a chunk, and not those of a batch, decide."""

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        return {name: h * len(h) for name, h in super().embed(views, batch).items()}


class Hiding(Plain):
    """Keep a tensor that training changes out of the state."""

    count = itertools.count()

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.shift = float(next(self.count))

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        return {name: h + self.shift for name, h in super().embed(views, batch).items()}


class Windowed(Plain):
    """Split a batch into windows of 32, of a bank that is filled before the first step."""

    def __init__(self, backbone: nn.Module, dim: int, config: Any, data: DatasetInfo) -> None:
        super().__init__(backbone, dim, config, data)
        self.register_buffer("bank", torch.zeros(data.images, dim))
        self.register_buffer("scale", torch.zeros(()))

    @classmethod
    def check_training(cls, config: Any, training: Training, data: DatasetInfo) -> None:
        if training.batch_size % 32:
            raise Unsupported(f"windowed: {training.batch_size} images are no windows of 32.")

    def first_pass(self, embeddings: Embeddings, batch: Batch) -> None:
        self.bank[batch.index] = embeddings["a"]

    def before_step(self, step: Step) -> None:
        if step.starts_epoch:
            self.scale.copy_(self.bank.norm())

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        a = embeddings["a"].unflatten(0, (-1, 32))
        near = (a - self.bank[batch.index].view_as(a)).square().mean(dim=1).sum() + a.square().sum()
        return {"near": near / self.scale}

    def after_batch(self, embeddings: Embeddings, batch: Batch) -> None:
        self.first_pass(embeddings, batch)


class Forgetful(Windowed):
    """Keep what is noted before the first step out of the state."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        del self.bank
        self.bank = torch.zeros(4096, 16)

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        return {name: 100 * term for name, term in super().terms(embeddings, batch).items()}


class Unwilling(Plain):
    """Refuse every training."""

    @classmethod
    def check_training(cls, config: Any, training: Training, data: DatasetInfo) -> None:
        raise Unsupported(f"unwilling: not {training.batch_size} of {data.images} images.")


class Thawed(Plain):
    """Have a Config that can be changed and explains nothing."""

    @dataclass
    class Config:
        weight: float = 1.0


def failed(kind: str, cls: type[Any]) -> set[str]:
    return {title for title, error in check(kind, cls, "it") if error is not None}


def test_a_method_that_keeps_the_contract_passes() -> None:
    check_method(Plain, "plain")


def test_a_loss_that_draws_is_not_taken_for_one_that_looks_at_labels() -> None:
    check_method(Drawing, "drawing")


def test_a_method_is_checked_with_as_many_images_as_it_needs_and_after_its_first_pass() -> None:
    check_method(Windowed, "windowed")


@pytest.mark.parametrize(
    ("cls", "titles"),
    [
        (Mixing, {"embed() is per sample: in chunks it equals the whole"}),
        (
            Moving,
            {
                "embed() may be called again: it changes nothing but batch norm",
                "train.chunk_size changes neither its step nor what it keeps",
            },
        ),
        (Hasty, {"terms() returns finite scalars, and changes nothing that is kept"}),
        (Restless, {"draw() returns rows on the CPU, the same from the same generator"}),
        (Shrunk, {"export() is a network like its backbone"}),
        (
            Leaking,
            {
                "embed() is per sample: in chunks it equals the whole",
                "train.chunk_size changes neither its step nor what it keeps",
            },
        ),
        (Detached, {"the gradient reaches the backbone"}),
        (Peeking, {"labels are not looked at, unless uses_labels says so"}),
        (Hiding, {"its state can be loaded into another one"}),
        (
            Forgetful,
            {
                "its state can be loaded into another one",
                "train.chunk_size changes neither its step nor what it keeps",
            },
        ),
        (Unwilling, {"check_training() accepts a batch of 8 to 512 of 4096 images"}),
        (
            Thawed,
            {"Config is a frozen, keyword-only dataclass", "every setting has a meaning and a source"},
        ),
    ],
)
def test_a_method_that_breaks_the_contract_fails_where_it_does(cls: type[Method], titles: set[str]) -> None:
    assert failed("methods", cls) == titles


def test_a_loss_an_image_is_told_with_its_shape() -> None:
    with pytest.raises(AssertionError, match=r"terms\(\): distance has shape \(8,\); return a scalar"):
        check_method(Vector, "vector")

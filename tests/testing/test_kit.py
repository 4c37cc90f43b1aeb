"""The conformance kit finds what a plugin does wrong."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import pytest
import torch
from torch import Tensor, nn

from bench.api import (
    Backbone,
    BackboneInfo,
    Batch,
    Dataset,
    DatasetInfo,
    Embeddings,
    Evaluator,
    Images,
    Method,
    Recipe,
    Scores,
    Task,
    Tokens,
    Unsupported,
    View,
)
from bench.testing import check, check_backbone, check_dataset, check_evaluator, check_method


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


class Thawed(Plain):
    """Have a Config that can be changed and explains nothing."""

    @dataclass
    class Config:
        weight: float = 1.0


def failed(kind: str, cls: type[Any]) -> set[str]:
    return {title for title, error in check(kind, cls, "it") if error is not None}


def test_a_method_that_keeps_the_contract_passes() -> None:
    check_method(Plain, "plain")


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


class Wide(Backbone):
    """Declare another dimension than it has."""

    dim = 4

    def forward(self, images: Tensor) -> Tensor:
        return images.mean(dim=(2, 3))


def test_a_backbone_of_another_dimension_fails() -> None:
    with pytest.raises(AssertionError, match=r"shape \(4, 3\), not \(4, 4\)"):
        check_backbone(Wide, "wide")


class Patches(Backbone):
    """Cut images into patches of 8 px, and offer each as a token, changed by a linear map."""

    def __init__(self, name: str, config: Any, channels: int, image_size: int) -> None:
        super().__init__(name, config, channels, image_size)
        self.dim = 8
        self.map = nn.Conv2d(channels, self.dim, 8, stride=8)

    def forward(self, images: Tensor) -> Tensor:
        return self.tokens(images).patches.mean(1)

    @classmethod
    def about(cls, name: str, config: Any, channels: int, image_size: int) -> BackboneInfo:
        side = image_size // 8
        return BackboneInfo(dim=8, grid=(side, side), patch_size=8, token_dim=8, blocks=1)

    @classmethod
    def check_size(cls, name: str, config: Any, channels: int, image_size: int, size: int) -> None:
        if size % 8:
            raise Unsupported(f"{name}: {size} is no multiple of 8.")

    def tokens(self, images: Tensor, keep: Tensor | None = None) -> Tokens:
        patches = self.map(images).flatten(2).transpose(1, 2)
        if keep is not None:
            patches = patches.gather(1, keep[..., None].expand(-1, -1, self.dim))
        return Tokens(prefix=patches[:, :0], patches=patches)

    def blocks(self, images: Tensor, count: int) -> tuple[Tensor | Tokens, ...]:
        return (self.tokens(images),)


class Attending(Patches):
    """Let each token see the patches that are not kept."""

    def tokens(self, images: Tensor, keep: Tensor | None = None) -> Tokens:
        tokens = super().tokens(images, keep)
        return Tokens(tokens.prefix, tokens.patches + super().tokens(images).patches.mean(1, keepdim=True))


class Boasting(Patches):
    """Claim a class token, more blocks and other sizes than there are."""

    @classmethod
    def about(cls, name: str, config: Any, channels: int, image_size: int) -> BackboneInfo:
        return replace(
            super().about(name, config, channels, image_size), prefix=1, class_token=True, blocks=3
        )

    def forward(self, images: Tensor) -> Tensor:
        if images.shape[2] != 32:
            raise ValueError("images have 32 px")
        return super().forward(images)


KINDS_OF_IMAGES = ("3 x 32 x 32 images", "1 x 32 x 32 images")


def test_a_backbone_that_offers_tokens_blocks_and_sizes_passes() -> None:
    check_backbone(Patches, "patches")

    titles = [title for title, _ in check("backbones", Patches, "patches")]
    assert sum("tokens" in title or "blocks" in title or "views of" in title for title in titles) == 8


def test_tokens_that_see_what_is_not_kept_fail() -> None:
    title = "tokens of kept patches see no other patch"

    assert failed("backbones", Attending) == {f"{images}: {title}" for images in KINDS_OF_IMAGES}


def test_a_backbone_that_offers_what_it_has_not_fails() -> None:
    titles = {
        "tokens are per sample, of the shapes that about() says",
        "its last blocks are per sample, each of one shape",
        "views of 48 px give features, as check_size() says",
    }

    assert failed("backbones", Boasting) == {
        f"{images}: {title}" for images in KINDS_OF_IMAGES for title in titles
    }


class Unsteady(Dataset):
    """Draw other images, another fingerprint and a label too many each time."""

    count = itertools.count()

    @property
    def info(self) -> DatasetInfo:
        return DatasetInfo(classes=("cat", "dog"), channels=1, size=4)

    def fingerprint(self) -> str:
        return str(next(self.count))

    def labels(self, split: str) -> Sequence[int]:
        return [0, 1, 2]

    def load(self, split: str) -> Images:
        return Images(torch.full((3, 1, 4, 5), next(self.count), dtype=torch.uint8), torch.tensor([0, 1, 2]))


def test_a_dataset_that_changes_and_contradicts_itself_fails() -> None:
    with pytest.raises(AssertionError) as told:
        check_dataset(Unsteady, "unsteady")

    assert "everything would be computed anew" in str(told.value)
    assert "they are (1, 4, 5), info says (1, 4, 4)" in str(told.value)
    assert "train: labels are places in info.classes: [2] of 2 classes" in str(told.value)
    assert "test: loads alike again" in str(told.value)


class Cheating(Evaluator):
    """Predict the test labels."""

    def evaluate(self, task: Task) -> Scores:
        return Scores(metrics={"top1": 100.0}, predictions=task.test.y)


class Guessing(Evaluator):
    """Draw from the global generator, and change what it is given."""

    def evaluate(self, task: Task) -> Scores:
        task.train.x.zero_()
        predictions = torch.randint(len(task.classes), (len(task.test),))
        return Scores(metrics={"top1": 33.0}, predictions=predictions)


def test_an_evaluator_that_looks_at_test_labels_fails() -> None:
    assert failed("evaluators", Cheating) == {"test labels change no prediction"}


def test_an_evaluator_that_guesses_fails() -> None:
    with pytest.raises(AssertionError) as told:
        check_evaluator(Guessing, "guessing")

    assert "of the predictions are right" in str(told.value)
    assert "draw from task.seed" in str(told.value)
    assert "features, images or the backbone were changed in place" in str(told.value)


class Claiming(Evaluator):
    """Give a top-1 that its predictions do not have, and not first."""

    def evaluate(self, task: Task) -> Scores:
        nearest = torch.cdist(task.test.x, task.train.x).argmin(1)
        return Scores(metrics={"nll": 1.0, "top1": 50.0}, predictions=task.train.y[nearest])


def test_an_evaluator_whose_top1_is_not_that_of_its_predictions_fails() -> None:
    with pytest.raises(AssertionError) as told:
        check_evaluator(Claiming, "claiming")

    assert "top1 is not the first of nll, top1" in str(told.value)
    assert "top1 is 50.0, but 100 percent are right" in str(told.value)


class Training(Evaluator):
    """Train the backbone that all share, and go on where there is none."""

    needs: ClassVar[Literal["features", "backbone"]] = "backbone"

    def evaluate(self, task: Task) -> Scores:
        if task.network is not None:
            with torch.no_grad():
                next(task.network.trained.parameters()).add_(1)
        return Scores(metrics={"norm": float(task.test.x.norm())})


def test_an_evaluator_that_trains_the_shared_backbone_fails() -> None:
    assert failed("evaluators", Training) == {
        "what it is given is left as it is",
        "features alone are refused in one line",
    }


class Measuring(Evaluator):
    """Measure without predicting, on a copy of the backbone."""

    needs: ClassVar[Literal["features", "backbone"]] = "backbone"

    def evaluate(self, task: Task) -> Scores:
        network = task.needed_network("measuring")
        with torch.inference_mode():
            found = network.backbone()(network.clean(network.test.pixels))
        return Scores(metrics={"norm": float(found.norm())})


def test_an_evaluator_without_predictions_passes() -> None:
    check_evaluator(Measuring, "measuring")

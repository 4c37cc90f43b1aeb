"""The conformance kit finds what a backbone does wrong, and says what it is."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.api import (
    Backbone,
    BackboneInfo,
    BadValue,
    Normalisation,
    Tokens,
    Unsupported,
    setting,
)
from bench.testing import check, check_backbone


def failures(cls: type[Backbone]) -> list[str]:
    return [f"{title}: {error}" for title, error in check("backbones", cls, "it") if error is not None]


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


class Net(Backbone):
    """A convolution, a norm and the mean over the map."""

    def __init__(self, name: str, config: Any, channels: int, image_size: int) -> None:
        super().__init__(name, config, channels, image_size)
        self.dim = 12
        self.layers = nn.Sequential(
            nn.Conv2d(channels, self.dim, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(self.dim),
            nn.ReLU(),
        )

    def forward(self, images: Tensor) -> Any:
        return self.layers(images).mean((2, 3))


# ---- right ones, which are not like the built-in ones


class Rows(Backbone):
    """Read an image row by row, and forget some of it in training."""

    def __init__(self, name: str, config: Any, channels: int, image_size: int) -> None:
        super().__init__(name, config, channels, image_size)
        self.dim = 10
        self.norm = nn.LayerNorm(channels * image_size)
        self.rows = nn.GRU(channels * image_size, self.dim, batch_first=True)
        self.drop = nn.Dropout(0.1)

    def forward(self, images: Tensor) -> Tensor:
        _, last = self.rows(self.norm(images.transpose(1, 2).flatten(2)))
        dropped: Tensor = self.drop(last[0])
        return dropped


class Filters(Backbone):
    """Filter by fixed patterns, of which nothing is trained, and refuse grey and small images."""

    def __init__(self, name: str, config: Any, channels: int, image_size: int) -> None:
        super().__init__(name, config, channels, image_size)
        self.dim = 8
        drawn = torch.Generator().manual_seed(0)
        self.register_buffer(
            "patterns", torch.randn(self.dim, channels, 9, 9, generator=drawn), persistent=False
        )

    def forward(self, images: Tensor) -> Tensor:
        return F.conv2d(images, self.patterns, stride=4).abs().mean((2, 3))

    @classmethod
    def check(cls, name: str, config: Any, channels: int, image_size: int) -> None:
        if channels != 3 or image_size < 64:
            raise Unsupported(f"{name}: it takes colour images from 64 px on.")


class FrozenNorm(Net):
    """Keep the norm as it is, in training too."""

    def train(self, mode: bool = True) -> FrozenNorm:  # noqa: FBT001, FBT002 - torch's own
        super().train(mode)
        self.layers[1].eval()
        return self


class Started(Net):
    """Start from a file, strictly."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        weights: str | None = setting(None, "start from this file", file=True)

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        if args[1].weights is not None:
            self.start(Path(args[1].weights))

    def start(self, path: Path) -> None:
        try:
            self.load_state_dict(torch.load(path, weights_only=True))
        except (OSError, RuntimeError, pickle.UnpicklingError) as error:
            raise BadValue(f"started: {path} cannot be loaded ({type(error).__name__}).") from None


@pytest.mark.parametrize("cls", [Net, Rows, Filters, FrozenNorm, Started, Patches])
def test_a_right_backbone_passes(cls: type[Backbone]) -> None:
    check_backbone(cls, "right")


def test_tokens_blocks_and_sizes_are_checked_where_they_are_offered() -> None:
    titles = [title for title, _ in check("backbones", Patches, "patches")]

    assert sum("tokens" in title or "blocks" in title or "views of" in title for title in titles) == 8


def test_of_a_backbone_that_refuses_grey_images_nothing_is_checked_on_them() -> None:
    titles = [title for title, _ in check("backbones", Filters, "filters")]

    assert any(title.startswith("3 x 64 x 64") for title in titles)
    assert not any(title.startswith("1 x") for title in titles)


# ---- wrong ones


class Loose(Started):
    """Start from whatever names fit."""

    def start(self, path: Path) -> None:
        if not path.is_file():
            raise BadValue(f"loose: {path} is not there.")
        if path.suffix == ".pth":
            self.load_state_dict(torch.load(path, weights_only=True), strict=False)


class Stripping(Loose):
    """Strip letters for a prefix."""

    def start(self, path: Path) -> None:
        if path.suffix != ".pth" or not path.is_file():
            raise BadValue(f"stripping: {path} is no file of weights.")
        state = torch.load(path, weights_only=True)
        if not set(state) & set(self.state_dict()):
            raise BadValue(f"stripping: {path} has none of its tensors.")
        self.load_state_dict({name.lstrip("layers."): value for name, value in state.items()}, strict=False)


class Unasked(Started):
    """Go on without the file."""

    def start(self, path: Path) -> None:
        if path.is_file():
            super().start(path)


class Wide(Net):
    """Declare another dimension than it has."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.dim = 13


class Squeezing(Net):
    """Squeeze a single image away."""

    def forward(self, images: Tensor) -> Any:
        return F.adaptive_avg_pool2d(self.layers(images), 1).squeeze()


class Several(Net):
    """Return a map beside the features."""

    def forward(self, images: Tensor) -> Any:
        return super().forward(images), self.layers(images)


class Doubled(Net):
    """Compute in 64 bits."""

    def forward(self, images: Tensor) -> Any:
        return super().forward(images).double()


class Infinite(Net):
    """Take the logarithm of nothing."""

    def forward(self, images: Tensor) -> Any:
        return super().forward(images).mul(0).log()


class Collapsed(Net):
    """Return the same for all images."""

    def forward(self, images: Tensor) -> Any:
        return super().forward(images) * 0 + 1


class Classifier(Net):
    """Leave the classifier in."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.fc = nn.Linear(self.dim, 1000)
        self.dim = 1000

    def forward(self, images: Tensor) -> Any:
        return self.fc(super().forward(images))


class Dropping(Net):
    """Drop out, frozen or not."""

    def forward(self, images: Tensor) -> Any:
        return F.dropout(super().forward(images), 0.2)


class OfBatch(Net):
    """Normalise by the batch, frozen or not."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.layers[1] = nn.BatchNorm2d(self.dim, track_running_stats=False)


class NeverFrozen(Net):
    """Stay in training mode."""

    def eval(self) -> NeverFrozen:
        return self


class Thawing(Net):
    """Go into training mode when it is called."""

    def forward(self, images: Tensor) -> Any:
        features = super().forward(images)
        self.train()
        return features


class Writing(Net):
    """Write into the images."""

    def forward(self, images: Tensor) -> Any:
        return super().forward(images.sub_(0.1))


class Counting(Net):
    """Count images in a buffer, frozen or not."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, images: Tensor) -> Any:
        self.seen += len(images)
        return super().forward(images)


class Adding(Net):
    """Add up what it has seen."""

    def forward(self, images: Tensor) -> Any:
        features = super().forward(images)
        self.total = getattr(self, "total", 0) + features.detach().mean()
        return features + self.total


class Noisy(Net):
    """Draw random numbers for nothing."""

    def forward(self, images: Tensor) -> Any:
        torch.rand(1)
        return super().forward(images)


class Switching(Net):
    """Have all that is made later be of 64 bits."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        torch.set_default_dtype(torch.float64)


class NumpyWeights(Net):
    """Draw weights by numpy."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        with torch.no_grad():
            weight = self.layers[0].weight
            weight.copy_(torch.from_numpy(np.random.randn(*weight.shape)) / 5)  # noqa: NPY002


class Seeding(Net):
    """Seed the random numbers that all share."""

    def __init__(self, *args: Any) -> None:
        torch.manual_seed(0)
        super().__init__(*args)


class OneNetwork(Net):
    """Draw weights from a generator of its own, always the same ones."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        nn.init.normal_(self.layers[0].weight, generator=torch.Generator().manual_seed(0))


class Listed(Net):
    """Keep a layer in a list."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.more = [nn.Linear(self.dim, self.dim)]

    def forward(self, images: Tensor) -> Any:
        return self.more[0](super().forward(images))


class Plain(Net):
    """Keep a mean of what it has seen in an attribute."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.centre = torch.zeros(self.dim)

    def forward(self, images: Tensor) -> Any:
        features = super().forward(images)
        if self.training:
            self.centre = 0.5 * self.centre + 0.5 * features.detach().mean(0)
        return features - self.centre


class Placing(Net):
    """Make a tensor on the CPU, wherever the images are."""

    def forward(self, images: Tensor) -> Any:
        return super().forward(images) * torch.linspace(0.5, 1, self.dim)


class Remembering(Net):
    """Keep the features of the last pass."""

    def forward(self, images: Tensor) -> Any:
        self.last = super().forward(images)
        return self.last


class Closing(Net):
    """Pool by a function of itself."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.pool: Callable[[Tensor], Tensor] = lambda images: self.layers(images).mean((2, 3))

    def forward(self, images: Tensor) -> Any:
        return self.pool(images)


class Viewing(Net):
    """View a map as a row."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.dim = 48

    def forward(self, images: Tensor) -> Any:
        return F.max_pool2d(self.layers(images), images.shape[2] // 4).view(len(images), -1)


class Unused(Net):
    """Have a parameter that nothing is made of."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.token = nn.Parameter(torch.zeros(self.dim))


class Small(Net):
    """Fail on small images, that it does not refuse."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.layers[0] = nn.Conv2d(args[2], self.dim, 15, stride=2, bias=False)


class Colour(Net):
    """Fail on grey images, that it does not refuse."""

    def __init__(self, name: str, config: Any, channels: int, image_size: int) -> None:
        super().__init__(name, config, 3, image_size)


class Reshaped(Net):
    """Build another network without weights."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        depth: int = setting(1, "layers more", least=0)

    def __init__(self, name: str, config: Any, channels: int, image_size: int) -> None:
        super().__init__(name, config, channels, image_size)
        self.more = nn.Sequential(*(nn.Linear(self.dim, self.dim) for _ in range(config.depth)))

    def forward(self, images: Tensor) -> Any:
        return self.more(super().forward(images))

    @classmethod
    def without_weights(cls, config: Any) -> Any:
        return replace(config, depth=0)


class Noted(Net):
    """Say one note, and no tuple of them."""

    @classmethod
    def notes(cls, name: str, config: Any, channels: int, image_size: int) -> Any:
        return "It is small."


class Normalised(Net):
    """Say what weights expect of three channels, whatever the images have."""

    @classmethod
    def normalisation(cls, name: str, config: Any, channels: int) -> Normalisation | None:
        return Normalisation(mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))


class Mapped(Net):
    """Say another side of its last map."""

    @classmethod
    def about(cls, name: str, config: Any, channels: int, image_size: int) -> BackboneInfo:
        return BackboneInfo(dim=12, map_size=image_size // 4, blocks=1)

    def blocks(self, images: Tensor, count: int) -> tuple[Tensor | Tokens, ...]:
        return (self.layers(images),)


class Narrow(Net):
    """Say another dimension before it is built."""

    @classmethod
    def about(cls, name: str, config: Any, channels: int, image_size: int) -> BackboneInfo:
        return BackboneInfo(dim=10)


class Timid(Net):
    """Refuse everything."""

    @classmethod
    def check(cls, name: str, config: Any, channels: int, image_size: int) -> None:
        raise Unsupported(f"{name}: no.")


WRONG = {
    Loose: "weights: a file without its tensors is refused: of .pth it starts anew, unsaid: load strictly",
    Stripping: "weights: a file of its own state is where it starts: layers.0.weight",
    Unasked: "weights: a file that is not there is refused in one line: it is built without",
    Wide: "shape (4, 12), not (4, 13); pool, and set self.dim",
    Squeezing: "shape (12,), not (1, 12)",
    Several: "it returned tuple; return the features alone",
    Doubled: "they are torch.float64",
    Infinite: "they are not finite",
    Collapsed: "they are the same for all images",
    Classifier: "they are the logits of fc, a classifier of 1000 classes",
    Dropping: "it draws torch's random numbers; give a dropout in forward training=self.training",
    OfBatch: "features of an image change with the other images",
    NeverFrozen: "itself, layers, layers.0 stays in training mode after eval()",
    Thawing: "forward() changes the mode of itself, layers, layers.0",
    Writing: "it writes into the images",
    Counting: "in eval mode it changes seen",
    Adding: "features change from call to call; keep nothing of a pass",
    Noisy: "in eval mode it draws torch's random numbers",
    Switching: "it changes torch's default type; put back what you switch",
    NumpyWeights: "layers.0.weight: others from the same seed; draw by torch",
    Seeding: "it seeds torch's random numbers: every seed of a run would start alike",
    OneNetwork: "another seed builds the same one",
    Listed: "its features differ after load_state_dict(): a tensor is not in it",
    Plain: "its features differ after load_state_dict(): a tensor is not in it",
    Placing: "a tensor stays behind; register it, and make others on images.device",
    Remembering: "it cannot be copied; keep no tensor of a pass in an attribute",
    Closing: "the copy computes with the original's parameters; have no lambda or closure over self",
    Viewing: "use flatten or reshape, not view",
    Unused: "every parameter gets a gradient: token: none",
    Small: "images of 8 px are refused by check(), or it works on them: RuntimeError",
    Colour: "1 x 32 x 32 images: features are (n, dim), finite, float32: RuntimeError",
    Reshaped: "its state makes another one the same: RuntimeError",
    Noted: "notes() returned 'It is small.'; return a tuple of sentences",
    Normalised: "normalisation() has 3 channels, the images have 1",
    Mapped: "its last map has a side of 16, about() says map_size=8",
    Narrow: "dim is 10, but its features have 12",
    Timid: "it refuses all",
    Attending: "tokens of kept patches see no other patch: they change with a patch that is not kept",
    Boasting: "prefix are (4, 0, 8), about() says (4, 1, 8)",
}


TWICE = {Loose, Listed, Plain, Boasting}  # they break several rules


@pytest.mark.parametrize(("cls", "why"), WRONG.items(), ids=[cls.__name__ for cls in WRONG])
def test_what_is_wrong_with_a_backbone_is_said_and_nothing_else(cls: type[Backbone], why: str) -> None:
    found = failures(cls)
    titles = {
        line.split(": ")[1] if " x " in line.partition(":")[0] else line.partition(": ")[0] for line in found
    }

    assert why in "\n".join(found)
    assert len(titles) == 1 or cls in TWICE

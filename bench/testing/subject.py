"""The method under test, on small backbones and made images; each part is made when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic, TypeVar, overload

import torch
from torch import Tensor

from bench.augmentation.view import View
from bench.config import build
from bench.contracts.backbone import Backbone
from bench.contracts.dataset import Images
from bench.contracts.dataset_info import DatasetInfo
from bench.contracts.method import Batch, Embeddings, Method, Step
from bench.contracts.recipe import Recipe, TrainConfig, Training, resolve
from bench.errors import Unsupported
from bench.keys import seed_of
from bench.testing.checks import skip
from bench.testing.networks import CHANNELS, SIDE, Convolution, Patches

IMAGES, MOST_IMAGES = 8, 512  # of a batch: as few as the method can be trained with
SPLIT = 4096  # images that the method is told it is trained on
CLASSES = ("cat", "dog", "owl", "yak")
CELLS = 4  # of an image, which are of one colour each: images differ, and a crop keeps what differs

T = TypeVar("T")


@dataclass(frozen=True)
class Network:
    """A backbone that methods are checked on.

    Args:
        title: what a check calls it.
        build: makes one for images of so many channels, of 32 x 32 pixels.
    """

    title: str
    build: Callable[[int], Backbone]


SMALL = (Network(Convolution.title, Convolution), Network(Patches.title, Patches))


class Part(Generic[T]):
    """A part that is made once: who asks again where that failed is told so, and not the error once more."""

    def __init__(self, make: Callable[[Any], T]) -> None:
        self.make, self.name, self.__doc__ = make, make.__name__, make.__doc__

    @overload
    def __get__(self, subject: None, owner: type[Any]) -> Part[T]: ...

    @overload
    def __get__(self, subject: object, owner: type[Any]) -> T: ...

    def __get__(self, subject: object | None, owner: type[Any]) -> Part[T] | T:
        """Return the part."""
        if subject is None:
            return self
        memo: dict[str, Any] = vars(subject).setdefault("parts", {})
        if self.name not in memo:
            memo[self.name] = None
            memo[self.name] = (self.make(subject),)
        if memo[self.name] is None:
            skip("what it needs is not there, for a reason that an earlier check has")
        made: T = memo[self.name][0]
        return made


class Subject:
    """The method under test.

    Args:
        cls: the method.
        name: its name.
        config: a `cls.Config`; none is the default one.
        networks: that it is checked on, each that it does not refuse.
    """

    def __init__(
        self, cls: type[Method], name: str, config: Any = None, networks: tuple[Network, ...] = SMALL
    ) -> None:
        self.cls, self.name, self.given, self.networks = cls, name, config, networks
        self.refusals: dict[str, str] = {}  # why networks are refused, by their title

    side = SIDE

    # ---- what is known while planning

    @Part
    def config(self) -> Any:
        """The settings."""
        return self.cls.Config() if self.given is None else self.given

    def data(self, channels: int = CHANNELS) -> DatasetInfo:
        """Return what the method is told of the data."""
        return DatasetInfo(classes=CLASSES, channels=channels, size=SIDE, images=SPLIT)

    @Part
    def views(self) -> tuple[View, ...]:
        """The views of colour images."""
        return self.cls.views(self.config, self.data(), SIDE)

    @Part
    def recipe(self) -> Recipe:
        """The recipe, of a method that trains."""
        recipe = self.cls.recipe_for(self.config, self.data(), SIDE)
        if recipe is None:
            skip("nothing is trained")
        return recipe

    @Part
    def accepted(self) -> tuple[Network, ...]:
        """The networks that the method works with.

        Raises:
            Unsupported: there is none.
        """
        found = []
        for network in self.networks:
            try:
                backbone = network.build(CHANNELS)
                self.cls.check(self.config, backbone.info, self.data(), SIDE)
                self._refuse_sizes(backbone)
            except Unsupported as refusal:
                self.refusals[network.title], last = str(refusal), refusal
            else:
                found.append(network)
        if not found:
            raise last
        return tuple(found)

    def _refuse_sizes(self, backbone: Backbone) -> None:
        """Raise Unsupported where a view has a size that the backbone does not take."""
        name, config, channels, side = backbone.built_for
        for size in {view.side(SIDE) for view in self.views} - {SIDE}:
            backbone.check_size(name, config, channels, side, size)

    @property
    def network(self) -> Network:
        """The first of them."""
        return self.accepted[0]

    def training(self, count: int, **values: Any) -> Training:
        """Resolve a training of batches of `count` images; `values` are of `TrainConfig`."""
        precision = values.pop("precision", "float32")
        config = build(TrainConfig, {"batch_size": count, "epochs": 1, **values}, "train")
        return resolve(self.recipe, config, SIDE, precision, where=f"{self.name}: recipe")

    @Part
    def count(self) -> int:
        """The images of a batch: as few, from eight on, as the method can be trained with."""
        count = IMAGES
        while (refusal := self.why_refused(count)) is not None:
            count *= 2
            if count > MOST_IMAGES:
                raise refusal
        return count

    def why_refused(self, count: int, **values: Any) -> Unsupported | None:
        """Return why the method refuses a training on batches of so many images, if it does."""
        try:
            self.cls.check_training(self.config, self.training(count, **values), self.data())
        except Unsupported as refusal:
            return refusal
        return None

    # ---- what is made for checks that call the method themselves

    def build(self, network: Network | None = None, channels: int = CHANNELS) -> Method:
        """Make a method as the harness does, alike however often it is asked for."""
        torch.manual_seed(seed_of(0, "init"))
        backbone = (network or self.network).build(channels)
        return self.cls(backbone, backbone.dim, self.config, self.data(channels))

    @Part
    def method(self) -> Method:
        """A method that is looked at, and not trained."""
        return self.fresh()

    def draws(self, method: Method, count: int) -> dict[str, Tensor]:
        """Return what a method draws for a batch of so many images."""
        return dict(method.draw(count, torch.Generator().manual_seed(0)))

    @Part
    def images(self) -> list[Tensor]:
        """A tensor a view: (count, channels, side, side)."""
        drawn = torch.Generator().manual_seed(0)
        sides = [view.side(SIDE) for view in self.views]
        return [torch.randn(self.count, CHANNELS, side, side, generator=drawn) for side in sides]

    @Part
    def batch(self) -> Batch:
        """What belongs to the images."""
        index = torch.arange(self.count)
        return Batch(index, index % len(CLASSES), self.draws(self.build(), self.count))

    def unstepped(self) -> Method:
        """Make another method, as it is before the first step, but for one batch that it was given to keep.

        What starts empty, such as a queue, would have nothing to compare the images of a first step with.
        """
        method = self.build()
        with torch.no_grad():
            if self.cls.first_pass is not Method.first_pass:
                method.first_pass(self.embedded(method), self.batch)
            if self.cls.after_batch is not Method.after_batch:
                method.before_step(Step())
                method.after_batch(self.embedded(method), self.batch)
        return method

    def fresh(self) -> Method:
        """Make another method, as it is when the images of the first step are embedded."""
        method = self.unstepped()
        method.before_step(Step())
        return method

    def embedded(self, method: Method, images: list[Tensor] | None = None) -> Embeddings:
        """Embed all images, alike however often they are."""
        torch.manual_seed(0)
        return method.embed(self.images if images is None else images, self.batch)


def needs_training(subject: Subject) -> None:
    """Leave out a check of what nothing is trained by."""
    if subject.cls.recipe is None:
        skip("nothing is trained")


@lru_cache(maxsize=2)
def make_images(channels: int) -> Images:
    """Return as many images as methods are told of, each of a few cells of one colour, in classes in turn."""
    drawn = torch.Generator().manual_seed(0)
    cells = torch.randint(0, 256, (SPLIT, channels, CELLS, CELLS), dtype=torch.uint8, generator=drawn)
    pixels = cells.repeat_interleave(SIDE // CELLS, dim=2).repeat_interleave(SIDE // CELLS, dim=3)
    return Images(pixels, torch.arange(SPLIT) % len(CLASSES))


def other_labels() -> Tensor:
    """Return other labels of these images, by which other images are of one class."""
    return torch.randint(0, len(CLASSES), (SPLIT,), generator=torch.Generator().manual_seed(1))

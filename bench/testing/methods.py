"""Check a method: per sample in `embed`, over the whole batch in `terms`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from bench.augmentation.view import View
from bench.contracts.dataset import DatasetInfo
from bench.contracts.method import Batch, Embeddings, Method, Step
from bench.contracts.recipe import Recipe
from bench.testing.checks import Check, Outcome, alike, class_checks, finite_scalars, require, run

IMAGES, CHANNELS, SIDE, DIM = 8, 3, 32, 16
CLASSES = ("cat", "dog", "owl", "yak")


def outcomes(cls: type[Method], name: str, config: Any = None) -> Iterator[Outcome]:
    """Yield every check of a method with its error, or none."""
    subject = _Subject(cls, config)
    yield from run(class_checks(cls, Method, name))
    yield from run(_checks(subject))
    if cls.recipe is not None:
        yield from run(_training_checks(subject))


class _Subject:
    """The method under test, on a small backbone and random images; each part made when first used."""

    def __init__(self, cls: type[Method], config: Any) -> None:
        self.cls, self._config = cls, config

    @cached_property
    def config(self) -> Any:
        return self.cls.Config() if self._config is None else self._config

    @cached_property
    def data(self) -> DatasetInfo:
        return DatasetInfo(classes=CLASSES, channels=CHANNELS, size=SIDE)

    @cached_property
    def views(self) -> tuple[View, ...]:
        return self.cls.views(self.config, self.data, SIDE)

    @cached_property
    def images(self) -> list[Tensor]:
        drawn = torch.Generator().manual_seed(0)
        sides = [view.side(SIDE) for view in self.views]
        return [torch.randn(IMAGES, CHANNELS, side, side, generator=drawn) for side in sides]

    @cached_property
    def batch(self) -> Batch:
        index = torch.arange(IMAGES)
        return Batch(index, index % len(CLASSES))

    @cached_property
    def method(self) -> Method:
        return self.fresh()

    def fresh(self) -> Method:
        """Make another one."""
        return self.cls(_Small(), DIM, self.config, self.data)

    def embedded(self, method: Method) -> Embeddings:
        """Embed all images."""
        return method.embed(self.images, self.batch)


class _Small(nn.Sequential):
    """A convolution that is quick and has batch norm, which an embedding in chunks must live with."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(CHANNELS, DIM, 3, stride=4, bias=False),
            nn.BatchNorm2d(DIM),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )


def _checks(s: _Subject) -> Iterator[Check]:
    yield "recipe is a Recipe, or none if nothing is trained", lambda: _recipe(s)
    yield "views() returns a tuple of Views", lambda: _views(s)
    yield "it builds, and keeps its backbone as self.backbone", lambda: _builds(s)


def _training_checks(s: _Subject) -> Iterator[Check]:
    yield "embed() returns named embeddings, a row an image", lambda: _embeds(s)
    yield "embed() is per sample: in chunks it equals the whole", lambda: _per_sample(s)
    yield "embed() may be called again: it changes nothing but batch norm", lambda: _again(s)
    yield "terms() returns finite scalars", lambda: _terms(s)
    yield "the gradient reaches the backbone", lambda: _gradient(s)
    yield "labels are not looked at, unless uses_labels says so", lambda: _labels(s)
    yield "monitors() returns finite scalars", lambda: _monitors(s)
    yield "after_step() runs from the first step to the last", lambda: _after_step(s)
    yield "its state can be loaded into another one", lambda: _state(s)


def _recipe(s: _Subject) -> None:
    recipe = s.cls.recipe
    require(recipe is None or isinstance(recipe, Recipe), f"it is {recipe!r}")


def _views(s: _Subject) -> None:
    require(isinstance(s.views, tuple), f"it returned {type(s.views).__name__}")
    require(all(isinstance(view, View) for view in s.views), f"it returned {s.views}")
    require(bool(s.views) or s.cls.recipe is None, "it returned none: a method that trains needs a view")


def _builds(s: _Subject) -> None:
    backbone = _Small()
    method = s.cls(backbone, DIM, s.config, s.data)
    require(method.backbone is backbone, "self.backbone is another module; the harness saves that one")


def _embeds(s: _Subject) -> None:
    embeddings = s.embedded(s.method)
    require(isinstance(embeddings, dict), f"it returned {type(embeddings).__name__}, not a dict")
    require(bool(embeddings), "it returned none")
    for name, value in embeddings.items():
        require(value.shape[:1] == (IMAGES,), f"{name} has shape {tuple(value.shape)} for {IMAGES} images")


def _per_sample(s: _Subject) -> None:
    method = s.fresh().eval()
    whole = s.embedded(method)
    parts = [_part(s, method, rows) for rows in torch.arange(IMAGES).split(3)]
    for name, value in whole.items():
        chunked = torch.cat([part[name] for part in parts])
        require(
            alike(value, chunked), f"{name} of an image depends on the other images; use terms() for that"
        )


def _part(s: _Subject, method: Method, rows: Tensor) -> Embeddings:
    batch = Batch(s.batch.index[rows], s.batch.labels[rows])
    return method.embed([view[rows] for view in s.images], batch)


def _again(s: _Subject) -> None:
    method, found = s.fresh(), []
    weights = [p.detach().clone() for p in method.parameters()]
    for _ in range(2):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            found.append(s.embedded(method))
    for name, value in found[0].items():
        require(torch.equal(value, found[1][name]), f"{name} differs the second time")
    moved = any(not torch.equal(p, before) for p, before in zip(method.parameters(), weights, strict=True))
    require(not moved, "a parameter has moved; use after_step() for that")


def _terms(s: _Subject) -> None:
    terms = s.method.terms(s.embedded(s.method), s.batch)
    finite_scalars(terms, "terms()")
    require(bool(terms), "it returned none: there is nothing to train on")


def _gradient(s: _Subject) -> None:
    method = s.fresh()
    torch.stack(list(method.terms(s.embedded(method), s.batch).values())).sum().backward()
    gradients = [p.grad for p in method.backbone.parameters() if p.grad is not None]
    require(any(bool(g.any()) for g in gradients), "it is zero everywhere in the backbone")
    require(all(bool(g.isfinite().all()) for g in gradients), "it is not finite")


def _labels(s: _Subject) -> None:
    if s.cls.uses_labels:
        return
    method, other = s.fresh().eval(), Batch(s.batch.index, s.batch.labels.flip(0))
    given, changed = (method.terms(method.embed(s.images, b), b) for b in (s.batch, other))
    same = all(alike(given[name], changed[name]) for name in given)
    require(same, "other labels give other terms. Set uses_labels = True, or leave batch.labels alone")


def _monitors(s: _Subject) -> None:
    with torch.no_grad():
        finite_scalars(s.method.monitors(s.embedded(s.method), s.batch), "monitors()")


def _after_step(s: _Subject) -> None:
    method = s.fresh()
    for number in range(2):
        method.after_step(Step(number=number, total=2))
    finite_scalars(method.terms(s.embedded(method), s.batch), "terms() after after_step()")


def _state(s: _Subject) -> None:
    one, other = s.fresh().eval(), s.fresh().eval()
    other.load_state_dict(one.state_dict())
    pairs = zip(s.embedded(one).values(), s.embedded(other).values(), strict=True)
    require(
        all(alike(a, b) for a, b in pairs), "embeddings differ after load_state_dict(): a tensor is not in it"
    )

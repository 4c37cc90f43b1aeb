"""Check a method: per sample in `embed`, over the whole batch in `terms`, and what it keeps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.augmentation.view import View
from bench.config import build
from bench.contracts.backbone import Backbone
from bench.contracts.dataset_info import DatasetInfo
from bench.contracts.method import Batch, Embeddings, Method, Step
from bench.contracts.recipe import Recipe, TrainConfig, Training, resolve
from bench.errors import Unsupported
from bench.metrics.collapse import embedding_std
from bench.pretraining.prefetch import ReadyBatch
from bench.pretraining.step import Stepper
from bench.pretraining.training_run import TrainingRun
from bench.testing.checks import Check, Outcome, alike, class_checks, finite_scalars, require, run
from bench.testing.networks import CHANNELS, DIM, SIDE, Convolution, Patches

IMAGES, MOST_IMAGES = 8, 512  # of a batch: as few as the method can be trained with
SPLIT = 4096  # images that the method is told it is trained on
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
        return DatasetInfo(classes=CLASSES, channels=CHANNELS, size=SIDE, images=SPLIT)

    @cached_property
    def views(self) -> tuple[View, ...]:
        return self.cls.views(self.config, self.data, SIDE)

    @cached_property
    def recipe(self) -> Recipe | None:
        return self.cls.recipe_for(self.config, self.data, SIDE)

    def training(self, count: int, chunk_size: int | None = None) -> Training:
        """Resolve a training of an epoch of batches of `count` images."""
        assert self.recipe is not None  # noqa: S101 - asked of methods that train alone
        values = {"batch_size": count, "chunk_size": chunk_size, "epochs": 1}
        return resolve(self.recipe, build(TrainConfig, values, "train"), SIDE, "float32")

    @cached_property
    def count(self) -> int:
        """The images of a batch: as few, from eight on, as the method can be trained with."""
        count = IMAGES
        while True:
            try:
                self.cls.check_training(self.config, self.training(count), self.data)
            except Unsupported:
                count *= 2
                if count > MOST_IMAGES:
                    raise
            else:
                return count

    @cached_property
    def images(self) -> list[Tensor]:
        drawn = torch.Generator().manual_seed(0)
        sides = [view.side(SIDE) for view in self.views]
        return [torch.randn(self.count, CHANNELS, side, side, generator=drawn) for side in sides]

    @cached_property
    def batch(self) -> Batch:
        index, generator = torch.arange(self.count), torch.Generator().manual_seed(0)
        method = self.cls(self.backbone(), DIM, self.config, self.data)
        return Batch(index, index % len(CLASSES), method.draw(self.count, generator))

    @cached_property
    def network(self) -> type[Convolution | Patches]:
        """The first of the small backbones that the method works with."""
        for network in (Convolution, Patches):
            try:
                self.cls.check(self.config, network().info, self.data, SIDE)
            except Unsupported as error:
                refusal = error
            else:
                return network
        raise refusal

    @cached_property
    def method(self) -> Method:
        return self.fresh()

    def backbone(self) -> Backbone:
        """Make another backbone."""
        return self.network()

    def unstepped(self) -> Method:
        """Make another method, as it is before the first step, but for one batch that it was given to keep.

        What starts empty, such as a queue, would have nothing to compare the images of a first step with.
        """
        method = self.cls(self.backbone(), DIM, self.config, self.data)
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

    def embedded(self, method: Method) -> Embeddings:
        """Embed all images."""
        return method.embed(self.images, self.batch)


def _checks(s: _Subject) -> Iterator[Check]:
    yield "recipe is a Recipe, or none if nothing is trained", lambda: _recipe(s)
    yield "views() returns a tuple of Views", lambda: _views(s)
    yield "check() accepts a convolution, or a network of patches", lambda: _network(s)
    yield "it builds, and keeps its backbone as self.backbone", lambda: _builds(s)


def _training_checks(s: _Subject) -> Iterator[Check]:
    yield (
        f"check_training() accepts a batch of {IMAGES} to {MOST_IMAGES} of {SPLIT} images",
        lambda: _count(s),
    )
    if "count" not in vars(s):
        return  # what follows needs a batch
    yield "draw() returns rows on the CPU, the same from the same generator", lambda: _draws(s)
    yield "embed() returns named embeddings, a row an image", lambda: _embeds(s)
    yield "embed() is per sample: in chunks it equals the whole", lambda: _per_sample(s)
    yield "embed() may be called again: it changes nothing but batch norm", lambda: _again(s)
    yield "terms() returns finite scalars, and changes nothing that is kept", lambda: _terms(s)
    yield "the gradient reaches the backbone", lambda: _gradient(s)
    yield "labels are not looked at, unless uses_labels says so", lambda: _labels(s)
    yield "monitors() returns finite scalars", lambda: _monitors(s)
    yield "it steps from the first step to the last", lambda: _steps(s)
    yield "train.chunk_size changes neither its step nor what it keeps", lambda: _chunks(s)
    yield "its state can be loaded into another one", lambda: _state(s)
    yield "export() is a network like its backbone", lambda: _export(s)


def _recipe(s: _Subject) -> None:
    for recipe in (s.cls.recipe, s.recipe):
        require(recipe is None or isinstance(recipe, Recipe), f"it is {recipe!r}")
    trains = s.cls.recipe is not None
    require((s.recipe is not None) is trains, f"recipe is {s.cls.recipe!r}, but recipe_for() {s.recipe!r}")


def _views(s: _Subject) -> None:
    require(isinstance(s.views, tuple), f"it returned {type(s.views).__name__}")
    require(all(isinstance(view, View) for view in s.views), f"it returned {s.views}")
    require(bool(s.views) or s.cls.recipe is None, "it returned none: a method that trains needs a view")


def _network(s: _Subject) -> None:
    require(issubclass(s.network, Backbone), "it refuses both")


def _count(s: _Subject) -> None:
    require(s.count >= IMAGES, "it refuses all")


def _builds(s: _Subject) -> None:
    backbone = s.backbone()
    method = s.cls(backbone, DIM, s.config, s.data)
    require(method.backbone is backbone, "self.backbone is another module; keep the one that is given")


def _draws(s: _Subject) -> None:
    draws, again = (s.method.draw(s.count, torch.Generator().manual_seed(1)) for _ in range(2))
    for name, value in draws.items():
        require(value.device.type == "cpu", f"{name} is on {value.device}; draw it on the CPU")
        require(value.shape[:1] == (s.count,), f"{name} has shape {tuple(value.shape)} for {s.count} images")
        require(torch.equal(value, again[name]), f"{name} differs; draw from the generator that is given")


def _embeds(s: _Subject) -> None:
    embeddings = s.embedded(s.method)
    require(isinstance(embeddings, dict), f"it returned {type(embeddings).__name__}, not a dict")
    require(bool(embeddings), "it returned none")
    for name, value in embeddings.items():
        require(value.shape[:1] == (s.count,), f"{name} has shape {tuple(value.shape)} for {s.count} images")
    name, first = next(iter(embeddings.items()))
    spread = embedding_std(first.detach().reshape(s.count, -1))
    require(bool(spread.isfinite()), f"{name}, the first, is watched for collapse, but is not finite")


def _per_sample(s: _Subject) -> None:
    method = s.fresh().eval()
    whole = s.embedded(method)
    parts = [_part(s, method, rows) for rows in torch.arange(s.count).split(_chunk_size(s))]
    for name, value in whole.items():
        chunked = torch.cat([part[name] for part in parts])
        require(
            alike(value, chunked), f"{name} of an image depends on the other images; use terms() for that"
        )


def _chunk_size(s: _Subject) -> int:
    return 3 * s.count // 8


def _part(s: _Subject, method: Method, rows: Tensor) -> Embeddings:
    part = slice(int(rows[0]), int(rows[-1]) + 1)
    return method.embed([view[part] for view in s.images], s.batch.rows(part))


def _again(s: _Subject) -> None:
    method, results = s.fresh(), []
    weights = [p.detach().clone() for p in method.parameters()]
    for _ in range(2):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            results.append(s.embedded(method))
    for name, value in results[0].items():
        require(torch.equal(value, results[1][name]), f"{name} differs the second time")
    moved = any(not torch.equal(p, before) for p, before in zip(method.parameters(), weights, strict=True))
    require(not moved, "a parameter has moved; use after_step() for that")


def _terms(s: _Subject) -> None:
    method = s.fresh()
    embeddings = s.embedded(method)
    before = {name: value.clone() for name, value in method.state_dict().items()}
    terms = method.terms(embeddings, s.batch)
    finite_scalars(terms, "terms()")
    require(bool(terms), "it returned none: there is nothing to train on")
    changed = [name for name, value in method.state_dict().items() if not torch.equal(value, before[name])]
    require(not changed, f"{', '.join(changed[:3])} changed before the gradient was there; use after_batch()")


def _gradient(s: _Subject) -> None:
    method = s.fresh()
    torch.stack(list(method.terms(s.embedded(method), s.batch).values())).sum().backward()
    gradients = [p.grad for p in method.backbone.parameters() if p.grad is not None]
    require(any(bool(g.any()) for g in gradients), "it is zero everywhere in the backbone")
    require(all(bool(g.isfinite().all()) for g in gradients), "it is not finite")


def _labels(s: _Subject) -> None:
    if s.cls.uses_labels:
        return
    method, other = s.fresh().eval(), replace(s.batch, labels=s.batch.labels.flip(0))
    given, changed = (_seeded_terms(s, method, batch) for batch in (s.batch, other))
    same = all(alike(given[name], changed[name]) for name in given)
    require(same, "other labels give other terms. Set uses_labels = True, or leave batch.labels alone")


def _monitors(s: _Subject) -> None:
    with torch.no_grad():
        finite_scalars(s.method.monitors(s.embedded(s.method), s.batch), "monitors()")


def _steps(s: _Subject) -> None:
    method, steps = s.unstepped(), 3
    for number in range(steps):
        step = Step(number=number, total=steps, epoch=number, epochs=steps)
        method.before_step(step)
        with torch.no_grad():
            method.after_batch(s.embedded(method), replace(s.batch, step=step))
        method.after_step(step)
    finite_scalars(method.terms(s.embedded(method), s.batch), "terms() after three steps")


def _chunks(s: _Subject) -> None:
    """Take a step with statistics of batch norm as they are: in chunks, those would be each chunk's own."""
    whole = s.unstepped().eval()
    chunked = s.unstepped().eval()
    chunked.load_state_dict(whole.state_dict())
    for method, chunk_size in ((whole, None), (chunked, _chunk_size(s))):
        _step(s, method, chunk_size)
    other = chunked.state_dict()
    differing = [name for name, value in whole.state_dict().items() if not alike(value, other[name])]
    require(
        not differing, f"{', '.join(differing[:3])}: another after a step in chunks than of the whole batch"
    )


def _step(s: _Subject, method: Method, chunk_size: int | None) -> None:
    """Take one step as a training does."""
    plain = replace(s.training(s.count, chunk_size), optimizer="sgd", lr=0.01)
    training = replace(plain, clip_norm=100.0, clip_scope="all")  # a large loss rounds much
    constants = (0.5,) * CHANNELS
    training_run = TrainingRun(
        what="a step",
        key="",
        training=training,
        views=s.views,
        mean=constants,
        std=constants,
        seed=0,
        device=torch.device("cpu"),
        folder=Path(),
    )
    ready = ReadyBatch(0, s.batch, lambda rows: [view[rows] for view in s.images])
    Stepper(method, training_run).take([ready], Step())


def _state(s: _Subject) -> None:
    one, other = s.fresh().eval(), s.fresh().eval()
    other.load_state_dict(one.state_dict())
    for what, results in (("embeddings", s.embedded), ("terms", partial(_seeded_terms, s))):
        pairs = zip(results(one).values(), results(other).values(), strict=True)
        same = all(alike(a, b) for a, b in pairs)
        require(same, f"{what} differ after load_state_dict(): a tensor is not in it")


def _seeded_terms(s: _Subject, method: Method, batch: Batch | None = None) -> dict[str, Tensor]:
    """Return the terms, alike however often they are asked for."""
    batch = batch or s.batch
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return method.terms(method.embed(s.images, batch), batch)


def _export(s: _Subject) -> None:
    exported, backbone = s.method.export(), s.method.backbone
    shapes = [{name: value.shape for name, value in net.state_dict().items()} for net in (exported, backbone)]
    require(isinstance(exported, nn.Module), f"it is {type(exported).__name__}")
    require(shapes[0] == shapes[1], "its tensors have other names or shapes than those of self.backbone")

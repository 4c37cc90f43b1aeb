"""Check a method: what it says of itself, what each of its functions does, and how it trains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from bench.augmentation.view import View
from bench.contracts.backbone import Backbone
from bench.contracts.method import Method
from bench.contracts.recipe import Recipe
from bench.metrics.collapse import embedding_std
from bench.testing.checks import (
    Check,
    Outcome,
    alike,
    class_checks,
    finite_scalars,
    require,
    run,
    skip,
    some,
)
from bench.testing.geometry import compare_losses, require_partners_matter, require_spread_is_better
from bench.testing.method_trainings import list_training_checks
from bench.testing.networks import CHANNELS, SIDE
from bench.testing.process_state import ProcessState, seeded
from bench.testing.subject import IMAGES, MOST_IMAGES, SMALL, SPLIT, Network, Subject, needs_training


def list_checks(
    cls: type[Method], name: str, config: Any = None, networks: Sequence[Network] = SMALL
) -> Iterator[Check]:
    """Yield every check of a method.

    Args:
        cls: the method.
        name: its name.
        config: a `cls.Config`; none is the default one.
        networks: that it is checked on, each that it does not refuse.
    """
    subject = Subject(cls, name, config, tuple(networks))
    yield from class_checks(cls, Method, name)
    yield from _planning_checks(subject)
    for title, body in (*_function_checks(), *list_training_checks(subject)):
        yield title, partial(_of_training, subject, body)


def outcomes(
    cls: type[Method], name: str, config: Any = None, networks: Sequence[Network] = SMALL
) -> Iterator[Outcome]:
    """Yield what comes of every check of a method; arguments as of `list_checks`."""
    yield from run(list_checks(cls, name, config, networks))


def _of_training(subject: Subject, body: Any) -> None:
    needs_training(subject)
    body(subject)


def _planning_checks(s: Subject) -> Iterator[Check]:
    yield "recipe is a Recipe, or none if nothing is trained", lambda: _recipe(s)
    yield "views() returns a tuple of Views", lambda: _views(s)
    yield f"check() accepts {' or '.join(network.title for network in s.networks)}", lambda: _network(s)
    yield "it builds, and keeps its backbone as self.backbone", lambda: _builds(s)
    yield "export() is a network like its backbone", lambda: _export(s)


def _function_checks() -> Iterator[tuple[str, Any]]:
    yield f"check_training() accepts a batch of {IMAGES} to {MOST_IMAGES} of {SPLIT} images", _count
    yield "draw() returns rows on the CPU, the same from the same generator", _draws
    yield "embed() returns named embeddings, a row an image", _embeds
    yield "embed() is per sample: in chunks it equals the whole", _per_sample
    yield "embed() may be called again: it changes nothing but batch norm", _again
    yield "embed() draws nothing by itself", _undrawn
    yield "every view counts", _every_view
    yield "terms() returns finite scalars, and changes nothing that is kept", _terms
    yield "monitors() returns finite scalars", _monitors
    yield "the gradient reaches the backbone", _gradient
    yield "the loss is not lower where all embeddings lie on a line", _spread
    yield "the loss is higher where views are of other images", _partners


# ---- what is known while planning


def _recipe(s: Subject) -> None:
    changed = s.cls.recipe_for(s.config, s.data(), SIDE)
    for recipe in (s.cls.recipe, changed):
        require(recipe is None or isinstance(recipe, Recipe), f"it is {recipe!r}")
    trains = s.cls.recipe is not None
    require((changed is not None) is trains, f"recipe is {s.cls.recipe!r}, but recipe_for() {changed!r}")


def _views(s: Subject) -> None:
    require(isinstance(s.views, tuple), f"it returned {type(s.views).__name__}")
    require(all(isinstance(view, View) for view in s.views), f"it returned {s.views}")
    require(bool(s.views) or s.cls.recipe is None, "it returned none: a method that trains needs a view")


def _network(s: Subject) -> None:
    require(issubclass(type(s.network.build(CHANNELS)), Backbone), "it refuses all")


def _builds(s: Subject) -> None:
    backbone = s.network.build(CHANNELS)
    method = s.cls(backbone, backbone.dim, s.config, s.data())
    require(method.backbone is backbone, "self.backbone is another module; keep the one that is given")
    states = []
    for seed in (1, 2):
        backbone = s.network.build(CHANNELS)
        with seeded(seed):
            s.cls(backbone, backbone.dim, s.config, s.data())
            states.append(ProcessState())
    seeding = " and ".join(states[0].list_seeded(states[1]))
    require(
        not seeding,
        f"its constructor seeds {seeding} random numbers: trainings of all seeds would start alike. Leave "
        "that to the harness, which has seeded torch's by then",
    )


def _export(s: Subject) -> None:
    method = s.build()
    exported, backbone = method.export(), method.backbone
    require(isinstance(exported, nn.Module), f"it is {type(exported).__name__}")
    shapes = [{name: value.shape for name, value in net.state_dict().items()} for net in (exported, backbone)]
    require(shapes[0] == shapes[1], "its tensors have other names or shapes than those of self.backbone")


# ---- what each function does


def _count(s: Subject) -> None:
    require(s.count >= IMAGES, "it refuses all")


def _draws(s: Subject) -> None:
    draws, again = (s.method.draw(s.count, torch.Generator().manual_seed(1)) for _ in range(2))
    for name, value in draws.items():
        require(value.device.type == "cpu", f"{name} is on {value.device}; draw it on the CPU")
        require(value.shape[:1] == (s.count,), f"{name} has shape {tuple(value.shape)} for {s.count} images")
        require(torch.equal(value, again[name]), f"{name} differs; draw from the generator that is given")


def _embeds(s: Subject) -> None:
    embeddings = s.embedded(s.method)
    require(isinstance(embeddings, dict), f"it returned {type(embeddings).__name__}, not a dict")
    require(bool(embeddings), "it returned none")
    for name, value in embeddings.items():
        of_batch = (
            "" if value.ndim else ". It is one number of the batch: what looks at all images is for terms()"
        )
        shape = tuple(value.shape)
        require(shape[:1] == (s.count,), f"{name} has shape {shape} for {s.count} images{of_batch}")
    name, first = next(iter(embeddings.items()))
    spread = embedding_std(first.detach().reshape(s.count, -1))
    require(bool(spread.isfinite()), f"{name}, the first, is watched for collapse, but is not finite")


def _per_sample(s: Subject) -> None:
    """In eval mode, and with nothing but the method itself in train mode: batch norm is then left out."""
    if s.cls.one_device and s.why_refused(s.count, chunk_size=3 * s.count // 8) is not None:
        skip("one_device and check_training() say that it needs the whole batch")
    for root_trains in (False, True):
        method = s.fresh().eval()
        method.training = root_trains
        whole = s.embedded(method)
        parts = []
        for rows in torch.arange(s.count).split(3 * s.count // 8):
            torch.manual_seed(0)
            part = slice(int(rows[0]), int(rows[-1]) + 1)
            parts.append(method.embed([view[part] for view in s.images], s.batch.rows(part)))
        for name, value in whole.items():
            chunked = torch.cat([part[name] for part in parts])
            require(
                alike(value, chunked),
                f"{name} of an image depends on the other images, as a loss or a batch's mean does. Chunks "
                "and --devices would change it: what looks at all images is for terms(); or say one_device, "
                "and refuse train.chunk_size in check_training()",
            )


def _again(s: Subject) -> None:
    method = s.fresh()
    weights = [p.detach().clone() for p in method.parameters()]
    results = [s.embedded(method) for _ in range(2)]
    for name, value in results[0].items():
        require(torch.equal(value, results[1][name]), f"{name} differs the second time")
    moved = any(not torch.equal(p, before) for p, before in zip(method.parameters(), weights, strict=True))
    require(not moved, "a parameter has moved; use after_step() for that")


def _undrawn(s: Subject) -> None:
    """In eval mode, in which dropout draws nothing."""
    method = s.fresh().eval()
    torch.manual_seed(0)
    before = torch.get_rng_state()
    method.embed(s.images, s.batch)
    require(
        torch.equal(before, torch.get_rng_state()),
        "it draws random numbers, which are others in chunks. Draw them in draw(), from the generator that "
        "it is given; embed() finds them in batch.draws",
    )


def _every_view(s: Subject) -> None:
    method, count = s.fresh().eval(), len(s.images)
    usual, loss = _with_loss(s, method, s.images)
    unused = []
    for number, view in enumerate(s.images):
        changed = [*s.images]
        changed[number] = torch.randn(view.shape, generator=torch.Generator().manual_seed(1))
        embeddings, other = _with_loss(s, method, changed)
        require(
            any(not torch.equal(z, embeddings[name]) for name, z in usual.items()),
            f"embed() does not look at views[{number}] of {count}, which views() asks for: is another one "
            "used twice?",
        )
        unused += [f"views[{number}]"] if torch.equal(loss, other) else []
    require(not unused, f"no term depends on {some(unused)} of {count}: are all embeddings used?")


def _with_loss(s: Subject, method: Method, images: list[Tensor]) -> tuple[dict[str, Tensor], Tensor]:
    embeddings = s.embedded(method, images)
    torch.manual_seed(0)
    return embeddings, torch.stack(list(method.terms(embeddings, s.batch).values())).sum()


def _terms(s: Subject) -> None:
    method = s.fresh()
    embeddings = s.embedded(method)
    before = {name: value.clone() for name, value in method.state_dict().items()}
    terms = method.terms(embeddings, s.batch)
    finite_scalars(terms, "terms()")
    require(bool(terms), "it returned none: there is nothing to train on")
    changed = [name for name, value in method.state_dict().items() if not torch.equal(value, before[name])]
    require(not changed, f"{some(changed)} changed before the gradient was there; use after_batch()")


@torch.no_grad()
def _monitors(s: Subject) -> None:
    finite_scalars(s.method.monitors(s.embedded(s.method), s.batch), "monitors()")


def _gradient(s: Subject) -> None:
    method = s.fresh()
    _, loss = _with_loss(s, method, s.images)
    require(loss.requires_grad, "no term has one: is everything detached, or made under no_grad()?")
    loss.backward()
    frozen = [name for name, p in method.backbone.named_parameters() if not p.requires_grad]
    why = (
        f": {some(frozen)} is frozen. Is self.backbone itself a network that follows, and not a copy?"
        if frozen
        else ""
    )
    gradients = [p.grad for p in method.backbone.parameters() if p.grad is not None]
    require(any(bool(g.any()) for g in gradients), f"it is zero everywhere in the backbone{why}")
    require(all(bool(g.isfinite().all()) for g in gradients), "it is not finite")


def _spread(s: Subject) -> None:
    require_spread_is_better(compare_losses(s))


def _partners(s: Subject) -> None:
    require_partners_matter(compare_losses(s))

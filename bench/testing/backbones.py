"""Check a backbone: images in, features of the declared dimension out, and whatever else it offers."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from bench.contracts.backbone import Backbone
from bench.errors import BenchError, Unsupported, one_line
from bench.storage.tensors import cpu_copies
from bench.testing.backbone_offers import draw_images, offer_checks
from bench.testing.backbone_weights import weight_checks
from bench.testing.checks import Check, Outcome, alike, class_checks, require, run
from bench.testing.process_state import ProcessState, keeping_switches, seeded, switches_kept

SIDES = (32, 64, 224)  # of which the first is taken that it does not refuse
OTHER_SIDES = (8, 28)  # of images: those of digits and MNIST
CLASSES = 1000  # of ImageNet
ROUNDED = 0.25  # of the features' norm, in bfloat16
ELSEWHERE = ("same device", "expected device")  # in torch's errors


def outcomes(cls: type[Backbone], name: str, config: Any = None) -> Iterator[Outcome]:
    """Yield every check of a backbone with its error, or None."""
    yield from run(class_checks(cls, Backbone, name))
    chosen = cls.Config() if config is None else config
    every = [_Subject(cls, name, chosen, channels, side) for channels in (3, 1) for side in SIDES]
    of_channels = [[s for s in every if s.channels == channels and s.accepts] for channels in (3, 1)]
    accepted = [those[0] for those in of_channels if those]
    sides = ", ".join(map(str, SIDES))
    title = f"check() accepts images of one of {sides} px, grey or in colour"
    yield from run([(title, lambda: require(bool(accepted), "it refuses all"))])
    for s in accepted:
        yield from run(_checks(s))
    if accepted and accepted[0].is_steady:
        yield from run(keeping_switches(weight_checks(accepted[0].backbone)))
    for side in OTHER_SIDES if accepted and accepted[0].has_features else ():
        other = _Subject(cls, name, chosen, accepted[0].channels, side)
        yield from run([(f"images of {side} px are refused by check(), or it works on them", other.work)])


class _Subject:
    """A backbone for images of one kind."""

    def __init__(self, cls: type[Backbone], name: str, config: Any, channels: int, side: int) -> None:
        self.cls, self.name, self.config, self.channels, self.side = cls, name, config, channels, side
        self.has_features = False
        self.is_steady = False  # the same pass gives the same again

    @cached_property
    def accepts(self) -> bool:
        """Whether it does not refuse images of this kind; what else is raised is said where it is built."""
        try:
            self.cls.check(self.name, self.config, self.channels, self.side)
        except Unsupported:
            return False
        except Exception:  # noqa: BLE001 - of a plugin, and raised again
            return True
        return True

    @cached_property
    def images(self) -> Tensor:
        return draw_images(self.channels, self.side)

    def build(self, seed: int = 1, config: Any = None) -> Backbone:
        """Build it from a seed."""
        self.cls.check(self.name, self.config, self.channels, self.side)
        with switches_kept(), seeded(seed):
            return self.cls(self.name, config or self.config, self.channels, self.side)

    @cached_property
    def backbone(self) -> Backbone:
        self.cls.check(self.name, self.config, self.channels, self.side)
        with switches_kept(), seeded(1):
            process = ProcessState()
            built = self.cls(self.name, self.config, self.channels, self.side)
            switched = process.changed_switches()
        require(not switched, f"it changes {', '.join(switched)}; put back what you switch")
        return built

    def work(self) -> None:
        """Refuse images of this size while planning, or have features of them."""
        try:
            self.cls.check(self.name, self.config, self.channels, self.side)
        except BenchError as error:
            require("\n" not in str(error), f"the error has more than one line: {error}")
            return
        backbone = self.build()
        for training in (True, False):
            require_features(backbone.train(training), self.images)


def _checks(s: _Subject) -> Iterator[Check]:
    kind = f"{s.channels} x {s.side} x {s.side} images"
    yield (
        f"{kind}: check() passes and it builds",
        lambda: require(isinstance(s.backbone, nn.Module), "it does not"),
    )
    if "backbone" not in vars(s):
        return
    yield f"{kind}: features are (n, dim), finite, float32", lambda: _features(s)
    if not s.has_features:
        return
    yield f"{kind}: a pass changes neither images nor, when frozen, itself", lambda: _leaves(s)
    if s.is_steady:
        yield f"{kind}: features are per sample when frozen", lambda: _per_sample(s)
        yield f"{kind}: its state makes another one the same", lambda: _state(s)
        yield f"{kind}: a copy computes the same, by itself", lambda: _copies(s)
        yield f"{kind}: it works in channels-last memory and under autocast", lambda: _autocast(s)
    yield f"{kind}: it is built alike from one seed, and otherwise from another", lambda: _seeds(s)
    yield f"{kind}: it moves to another device whole", lambda: _moves(s)
    yield f"{kind}: every parameter gets a gradient", lambda: _gradient(s)
    for title, check in offer_checks(s.backbone, s.images):
        yield f"{kind}: {title}", check


def require_features(backbone: Backbone, images: Tensor) -> Tensor:
    """Require features (n, dim) of images, and return them."""
    h: Tensor = backbone(images)
    require(isinstance(h, Tensor), f"it returned {type(h).__name__}; return the features alone")
    expected = (len(images), backbone.dim)
    require(tuple(h.shape) == expected, f"shape {tuple(h.shape)}, not {expected}; pool, and set self.dim")
    require(h.dtype == torch.float32, f"they are {h.dtype}")
    require(bool(h.isfinite().all()), "they are not finite")
    return h


def _features(s: _Subject) -> None:
    require_features(s.backbone.train(), s.images)
    with torch.no_grad():
        h = require_features(s.backbone.eval(), s.images)
        require_features(s.backbone, s.images[:1])
    spread = (h - h.mean(0)).abs().max()
    require(bool(spread > 1e-6 * h.abs().max()), "they are the same for all images")
    named = s.backbone.named_modules()
    heads = [
        name for name, module in named if isinstance(module, nn.Linear) and module.out_features == CLASSES
    ]
    require(
        s.backbone.dim != CLASSES or not heads,
        f"they are the logits of {', '.join(heads)}, a classifier of {CLASSES} classes; leave it out",
    )
    s.has_features = True


@torch.no_grad()
def _leaves(s: _Subject) -> None:
    _pass_once(s, s.backbone.train(), frozen=False)
    _pass_once(s, s.backbone.eval(), frozen=True)
    frozen, state = s.backbone.eval(), _state_of(s.backbone)
    with seeded(1):
        before = ProcessState()
        once, drawn = frozen(s.images), before.list_drawn(ProcessState())
        again = frozen(s.images)
    changed = [name for name, value in _state_of(frozen).items() if not torch.equal(value, state[name])]
    require(not changed, f"in eval mode it changes {', '.join(changed[:3])}")
    advice = "give a dropout in forward training=self.training"
    require(not drawn, f"in eval mode it draws {' and '.join(drawn)} random numbers; {advice}")
    require(alike(once, again), "features change from call to call; keep nothing of a pass")
    s.is_steady = True


def _pass_once(s: _Subject, backbone: Backbone, *, frozen: bool) -> None:
    """Require of a pass that images, switches and modes are left as they are."""
    modes = [name or "itself" for name, module in backbone.named_modules() if module.training]
    require(not frozen or not modes, f"{', '.join(modes[:3])} stays in training mode after eval()")
    images = s.images.clone()
    with switches_kept():
        process = ProcessState()
        backbone(images)
        switched = process.changed_switches()
    require(torch.equal(images, s.images), "it writes into the images: other views of them are trained on")
    require(not switched, f"it changes {', '.join(switched)}; put back what you switch")
    turned = [name or "itself" for name, module in backbone.named_modules() if module.training]
    require(turned == modes, f"forward() changes the mode of {', '.join((turned or modes)[:3])}")


def _state_of(backbone: Backbone) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in backbone.state_dict().items()}


def _seeds(s: _Subject) -> None:
    """Build it from one seed of torch twice, and from another, each time with other numbers of all others."""
    one, _ = _build_from(s, 1, 5)
    again, process = _build_from(s, 1, 6)
    other, there = _build_from(s, 2, 7)
    differing = _differing(one, again)
    require(
        not differing,
        f"{', '.join(differing[:3])}: others from the same seed; draw by torch, which the run seeds",
    )
    seeding = " and ".join(process.list_seeded(there))
    require(not seeding, f"it seeds {seeding} random numbers: every seed of a run would start alike")
    fixed = not _differing(one, other) and any(map(_looks_drawn, one.parameters()))
    has_weights = s.cls.without_weights(s.config) != s.config
    require(not fixed or has_weights, "another seed builds the same one: draw by torch, from its own numbers")


def _build_from(s: _Subject, seed: int, of_others: int) -> tuple[Backbone, ProcessState]:
    """Return a backbone of a seed of torch, and the random states that are left."""
    with switches_kept(), seeded(of_others):
        torch.manual_seed(seed)
        return s.cls(s.name, s.config, s.channels, s.side), ProcessState()


def _differing(one: nn.Module, other: nn.Module) -> list[str]:
    """Return the names of what differs in two networks of one structure."""
    states = one.state_dict(), other.state_dict()
    return [name for name, value in states[0].items() if not torch.equal(value, states[1][name])]


def _looks_drawn(parameter: nn.Parameter) -> bool:
    """Tell whether a parameter that is trained has no pattern: most of its numbers are there once."""
    return (
        parameter.requires_grad
        and parameter.ndim > 1
        and 2 * len(parameter.unique()) > parameter.numel() > 32
    )


@torch.no_grad()
def _per_sample(s: _Subject) -> None:
    frozen = s.backbone.eval()
    whole, parts = frozen(s.images), torch.cat([frozen(s.images[:1]), frozen(s.images[1:])])
    require(
        alike(whole, parts),
        "features of an image change with the other images: have no statistics of the batch in eval mode",
    )


@torch.no_grad()
def _state(s: _Subject) -> None:
    """Keep it as the harness does, after it has seen images, and build it again without its weights."""
    one = s.build(1)
    one.train()(s.images)
    weightless = s.cls.without_weights(s.config)
    require(isinstance(weightless, type(s.config)), f"without_weights() returned {weightless!r}")
    other = s.build(2, weightless)
    other.load_state_dict(load(save(cpu_copies(one.state_dict()))))
    require(
        alike(one.eval()(s.images), other.eval()(s.images)),
        "its features differ after load_state_dict(): a tensor is not in it; keep it by nn.Parameter, "
        "register_buffer, nn.ModuleList",
    )


def _copies(s: _Subject) -> None:
    one = s.build(1)
    one.train()(s.images)  # with gradients, as in a training
    try:
        other = copy.deepcopy(one)
    except Exception as error:  # noqa: BLE001 - whatever its parts raise
        raise AssertionError(
            f"{one_line(error)}: it cannot be copied; keep no tensor of a pass in an attribute"
        ) from None
    with torch.no_grad():
        before = one.eval()(s.images)
        require(alike(before, other.eval()(s.images)), "its features differ")
        trained = [value for value in other.parameters() if value.numel()]
        for value in trained:
            value.mul_(-2).add_(1)
        require(
            alike(before, one(s.images)), "changing the copy changes the original; share no module or tensor"
        )
        moved = not trained or not torch.equal(before, other(s.images))
        require(
            moved, "the copy computes with the original's parameters; have no lambda or closure over self"
        )


def _autocast(s: _Subject) -> None:
    backbone = s.build(1).to(memory_format=torch.channels_last)
    images = s.images.contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        plain = s.build(1).eval()(s.images)
        try:
            exact = backbone.eval()(images)
        except RuntimeError as error:
            raise AssertionError(
                f"channels-last: {one_line(error)}; use flatten or reshape, not view"
            ) from None
        require(alike(plain, exact), "its features are others in channels-last memory")
        with torch.autocast("cpu", torch.bfloat16):
            rounded = backbone(images).float()
    off = float((rounded - exact).norm() / exact.norm().clamp_min(1e-9))
    require(off < ROUNDED, f"in bfloat16 its features are {100 * off:.0f} percent off")
    with torch.autocast("cpu", torch.bfloat16):
        h = backbone.train()(images)
    if h.requires_grad:
        h.float().square().sum().backward()


@torch.no_grad()
def _moves(s: _Subject) -> None:
    """Pass images through it on a device that has no memory: what stays behind does not go with them."""
    try:
        s.build(1).eval().to("meta")(s.images.to("meta"))
    except (RuntimeError, NotImplementedError) as error:
        left = any(words in str(error) for words in ELSEWHERE)
        require(
            not left,
            f"{one_line(error)}: a tensor stays behind; register it, and make others on images.device",
        )


def _gradient(s: _Subject) -> None:
    backbone = s.build(1)
    if not any(p.requires_grad for p in backbone.parameters()):
        return
    weights = torch.randn(backbone.dim, generator=torch.Generator().manual_seed(1))
    backbone.train()(s.images).matmul(weights).square().sum().backward()
    without = [name for name, p in backbone.named_parameters() if p.requires_grad and p.grad is None]
    require(not without, f"{', '.join(without[:3])}: none")

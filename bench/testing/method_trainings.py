"""Check how a method trains: whole, in chunks, accumulated, stopped, in bfloat16, in two processes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from bench.contracts.method import Method
from bench.errors import Unsupported
from bench.testing.checks import require, skip, some
from bench.testing.plain_state import list_changes
from bench.testing.subject import Network, Part, Subject
from bench.testing.trainings import (
    EPOCHS,
    STEPS,
    Trained,
    Variation,
    find_apart,
    find_difference,
    train,
    train_and_resume,
    train_in_two,
)
from bench.testing.watch import INPUTS, MODE, MOMENTUM, RANDOM, TRAINED, Watch

COARSE = 0.25  # of a loss: bfloat16 has three digits, and a loss may be sharp
GREY = 1  # channels

Body = Callable[[Subject], None]


class Trainings:
    """The trainings that several checks look at, each made when it is first asked for.

    Args:
        subject: whose.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject = subject

    def variation(self, **changes: Any) -> Variation:
        """Return a variation of the usual training."""
        return Variation(**{"network": self.subject.network, "count": self.subject.count, **changes})

    @Part
    def watched(self) -> tuple[Trained, Watch]:
        """The usual training, of which each call was looked at."""
        watches: list[Watch] = []

        def prepare(method: Method) -> None:
            watches.append(Watch(method))

        trained = train(self.subject, self.variation(), prepare=prepare)
        watches[0].finish()
        return trained, watches[0]

    @Part
    def unsteady(self) -> str:
        """What differs where it is trained once more; nothing where all is alike to the bit."""
        return find_difference(self.watched[0], train(self.subject, self.variation(disturbed=True)))

    @property
    def chunk_size(self) -> int:
        """Images of a chunk, which do not divide the batch."""
        return 3 * self.subject.count // 8


def list_training_checks(subject: Subject) -> Iterator[tuple[str, Body]]:
    """Yield the checks of how a method trains."""
    t = Trainings(subject)
    yield f"it trains for {EPOCHS * STEPS} steps, and its monitors are finite", lambda _: _trains(t)
    for network in subject.networks:
        yield f"it trains on {network.title}", partial(_network, t=t, network=network)
    yield "it trains on grey images, in batches of an odd number", lambda s: _grey(s, t)
    yield "it trains in bfloat16", lambda s: _bfloat16(s, t)
    yield "views, batches and embeddings are left as they are", lambda _: _found(t, INPUTS)
    yield "the backbone is left in its mode", lambda _: _found(t, MODE)
    yield "random numbers are the harness's", lambda _: _random(t)
    yield (
        "a network that follows is a copy, and moves once a step and after it",
        lambda _: _found(t, MOMENTUM),
    )
    yield "every parameter is trained, or frozen", lambda _: _found(t, TRAINED)
    yield "labels are not looked at, unless uses_labels says so", lambda s: _labels(s, t)
    yield "a training that was stopped goes on to the same numbers", lambda s: _resumed(s, t)
    yield "train.chunk_size changes neither its steps nor what it keeps", lambda s: _chunks(s, t)
    yield "two processes train as one does", lambda s: _two(s, t)


def _trains(t: Trainings) -> None:
    trained, _ = t.watched
    for line in trained.lines:
        wrong = [name for name, value in line.items() if not math.isfinite(value)]
        require(not wrong, f"{some(wrong)} of epoch {line['epoch']:g} is not finite")
    weights = [name for name in trained.trained if name.startswith("backbone.")]  # and no statistics
    moved = any(not torch.equal(trained.state[name], trained.start[name]) for name in weights)
    require(moved, "self.backbone is what it was at the start")
    exported = [name for name in map(_inner_name, weights) if name in trained.exported]
    still = all(torch.equal(trained.exported[name], trained.first_exported[name]) for name in exported)
    require(
        not exported or not still,
        "what export() returns is what it was at the start: an untrained network would be evaluated",
    )


def _inner_name(name: str) -> str:
    return name.removeprefix("backbone.")


def _network(s: Subject, t: Trainings, network: Network) -> None:
    if network not in s.accepted:
        skip(s.refusals[network.title])
    if network == s.network:
        t.watched  # noqa: B018 - it is trained there
    else:
        train(s, t.variation(network=network))


def _grey(s: Subject, t: Trainings) -> None:
    network = s.accepted[-1]
    try:
        s.cls.check(s.config, network.build(GREY).info, s.data(GREY), s.side)
    except Unsupported as refusal:
        skip(str(refusal))
    odd = s.count + 1 if s.why_refused(s.count + 1) is None else s.count
    train(s, t.variation(network=network, channels=GREY, count=odd))


def _bfloat16(s: Subject, t: Trainings) -> None:
    usual, coarse = (
        t.watched[0].lines[0]["loss"],
        train(s, t.variation(precision="bfloat16")).lines[0]["loss"],
    )
    require(
        abs(coarse - usual) <= COARSE * max(1.0, abs(usual)),
        f"the loss is {coarse:.4g}, and {usual:.4g} in float32. Leave what needs digits to terms(), which "
        "gets float32",
    )


def _found(t: Trainings, topic: str) -> None:
    found = t.watched[1].found[topic]
    require(not found, "; ".join(found[:3]))


def _random(t: Trainings) -> None:
    _found(t, RANDOM)
    require(
        not t.unsteady,
        f"trained again from the same seed, {t.unsteady}. Draw with torch, which the harness seeds before it "
        "calls, or in draw(); keep nothing in the class or the module",
    )


def _skip_unsteady(t: Trainings) -> None:
    if t.unsteady:
        skip("two trainings alike differ already, as an earlier check has it")


def _labels(s: Subject, t: Trainings) -> None:
    if s.cls.uses_labels:
        skip("uses_labels says that it looks at them")
    _skip_unsteady(t)
    usual = t.watched[0]
    found = find_difference(usual, train(s, t.variation(relabelled=True)), learned=True)
    require(
        not found,
        f"with other labels, of which other images have one, {found}. Set uses_labels = True, or leave "
        "batch.labels alone, and all that is kept of them",
    )


def _resumed(s: Subject, t: Trainings) -> None:
    _skip_unsteady(t)
    usual, resumed = t.watched[0], train_and_resume(s, t.variation())
    require(
        resumed.began > 0,
        "its checkpoint cannot be loaded into a new one, as tensors have other names or shapes: make all "
        "buffers in the constructor, in the shape that they stay in",
    )
    found = find_difference(usual, resumed)
    if not found:
        return
    require(
        usual.frozen == resumed.frozen,
        f"{found}: {some(sorted(usual.frozen ^ resumed.frozen))} takes a gradient in one of both, and no "
        "checkpoint says which. Set requires_grad in before_step(), at each step, or use "
        "ParamGroup(freeze_epochs=...)",
    )
    lost = {
        name: kind
        for name, kind in list_changes(usual.before, usual.after).items()
        if usual.after[name] != resumed.after.get(name)
    }
    kept = "; ".join(f"self.{name} is {kind}" for name, kind in list(lost.items())[:3])
    why = f"{kept}, which no checkpoint has" if lost else "something is kept that no checkpoint has"
    require(
        not found,
        f"{found}: {why}. Keep it in a buffer, self.register_buffer(name, torch.tensor(...)), and change "
        "that in place",
    )


def _chunks(s: Subject, t: Trainings) -> None:
    chunked = {"accumulate": 2, "chunk_size": t.chunk_size}
    if (refusal := s.why_refused(s.count, **chunked)) is not None:
        skip(str(refusal))
    variation = t.variation(plain=True, still=True, accumulate=2)
    found = _find_apart(s, variation, lambda: train(s, replace(variation, chunk_size=t.chunk_size)))
    require(
        not found,
        f"in chunks, {found}. embed() is called on parts of the batch, and twice: it may keep nothing, nor "
        "use how many images it gets. What is kept of a batch is for after_batch()",
    )


def _two(s: Subject, t: Trainings) -> None:
    if s.cls.one_device:
        skip("one_device says that it trains on one")
    variation = t.variation(plain=True)
    found = _find_apart(s, variation, lambda: train_in_two(s, variation))
    require(
        not found,
        f"in two, {found}. Each embeds a part of the batch: what looks at all images is for terms(), but "
        "for torch's own batch norm",
    )


def _find_apart(s: Subject, variation: Variation, other: Callable[[], Trained]) -> str:
    """Return what differs by more than rounding, unless rounding grows to as much in this training."""
    usual = train(s, variation)
    found = find_apart(usual, other())
    if found and find_apart(usual, train(s, replace(variation, nudged=True))):
        skip(
            f"{found}; but so it does where parameters begin 1e-5 off: on {variation.network.title} this "
            "training makes much of rounding"
        )
    return found

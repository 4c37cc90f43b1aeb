"""Watch what a method does in the harness's loop: each of its functions is looked at before and after a call.

What it finds is told by topic, in the words of what to change. Of a parameter a few numbers are compared:
what moves it moves most of them.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.contracts.method import Batch, Method
from bench.nn.momentum import MomentumEncoder
from bench.testing.checks import some

HOOKS = (
    "draw",
    "first_pass",
    "before_step",
    "embed",
    "terms",
    "after_batch",
    "monitors",
    "after_step",
    "export",
)
MAY_MOVE = ("first_pass", "before_step", "after_step")  # what takes no gradient
MAY_CHANGE_MODE = ("before_step",)
FEW = 256  # numbers of a parameter that are compared
LEAST = 8  # of them, or that they point somewhere says nothing
SAME_WAY = 0.9  # cosine of a move with the way to another network: it goes there

INPUTS, MODE, RANDOM, MOMENTUM, TRAINED = "inputs", "mode", "random", "momentum", "trained"


@dataclass
class Move:
    """A parameter that was moved towards another one, outside of the optimiser.

    Args:
        hook: in which.
        step: of the training.
        towards: the name of the other parameter.
        rate: how far, as a share of the way.
        by_gradient: it takes a gradient, too.
    """

    hook: str
    step: int
    towards: str
    rate: float
    by_gradient: bool


class Watch:
    """Looks at the functions of a method as the loop calls them.

    Args:
        method: each of whose hooks is wrapped.
    """

    def __init__(self, method: Method) -> None:
        self.method, self.found = method, defaultdict[str, list[str]](list)
        self.step = 0
        self.reached: set[str] = set()  # parameters that a gradient came to
        self.moves: dict[str, list[Move]] = defaultdict(list)
        self.updates: dict[str, int] = defaultdict(int)  # of momentum networks, in this step
        self.idle: set[str] = set()  # momentum networks that were never updated
        for hook in HOOKS:
            method.__dict__[hook] = partial(self._call, hook, getattr(method, hook))
        for name, module in method.named_modules():
            if isinstance(module, MomentumEncoder):
                self.idle.add(name)
                module.__dict__["update"] = partial(self._update, name, module.update)

    def _say(self, topic: str, message: str) -> None:
        if message not in self.found[topic]:
            self.found[topic].append(message)

    def _update(self, name: str, update: Callable[..., None], *args: Any, **kwargs: Any) -> None:
        self.updates[name] += 1
        self.idle.discard(name)
        if self.updates[name] > 1:
            self._say(MOMENTUM, f"{name}.update() is called twice in a step. Call it once, in after_step()")
        update(*args, **kwargs)

    def _call(self, hook: str, function: Callable[..., Any], *args: Any, **named: Any) -> Any:
        given = (*args, *named.values())  # by name, where the method calls itself
        if hook == "before_step":
            self.step, self.updates = given[0].number, defaultdict(int)
        if hook == "after_batch":
            self.reached |= {name for name, p in self.method.named_parameters() if p.grad is not None}
        inputs, modes = [(what, x, x.clone()) for what, x in _inputs(hook, given)], self._modes()
        drawn, samples = _foreign_states(), self._samples()
        result = function(*args, **named)
        for what, x, before in inputs:
            if not torch.equal(x, before):
                self._say(INPUTS, f"{hook}() changes {what} in place, which others use, too. Work on a copy")
        self._look_at_modes(hook, modes)
        for name, before, after in zip(
            ("Python's random", "numpy's random"), drawn, _foreign_states(), strict=True
        ):
            if before != after:
                self._say(
                    RANDOM, f"{hook}() draws from {name}, which no seed of a run sets. {_where_to_draw(hook)}"
                )
        self._look_at_moves(hook, samples)
        return result

    # ---- modes

    def _modes(self) -> list[tuple[str, nn.Module, bool]]:
        return [(name, module, module.training) for name, module in self.method.named_modules()]

    def _look_at_modes(self, hook: str, modes: Iterable[tuple[str, nn.Module, bool]]) -> None:
        if hook in MAY_CHANGE_MODE:
            return
        left = [
            (name, module.training) for name, module, before in modes
            if module.training != before and (not name or name.split(".")[0] == "backbone")
        ]  # fmt: skip
        if left:
            name, training = left[0]
            modes_of = ("eval", "train") if training else ("train", "eval")
            self._say(
                MODE,
                f"{hook}() leaves {name or 'the method'} in {modes_of[1]} mode, it was in {modes_of[0]} "
                "mode: what follows is trained so. Put it back, or use a copy (MomentumEncoder)",
            )

    # ---- moves

    def _samples(self) -> dict[str, Tensor]:
        with torch.no_grad():
            return {
                name: p.detach().reshape(-1)[:FEW].clone()
                for name, p in self.method.named_parameters()
                if p.is_floating_point()
            }

    def _look_at_moves(self, hook: str, before: Mapping[str, Tensor]) -> None:
        after = self._samples()
        moved = [name for name, x in before.items() if name in after and not torch.equal(x, after[name])]
        for name in moved:
            towards = self._find_source(name, before, after)
            if towards is not None:
                source, rate = towards
                by_gradient = self._parameter(name).requires_grad
                self.moves[name].append(Move(hook, self.step, source, rate, by_gradient))
        if moved and hook not in (*MAY_MOVE, "after_batch"):
            self._say(MOMENTUM, f"{hook}() moves {some(moved)}. Move parameters in after_step()")

    def _parameter(self, name: str) -> nn.Parameter:
        return dict(self.method.named_parameters())[name]

    def _find_source(
        self, name: str, before: Mapping[str, Tensor], after: Mapping[str, Tensor]
    ) -> tuple[str, float] | None:
        """Return the parameter that another was moved towards, and by which share of the way."""
        shape, way = self._parameter(name).shape, after[name] - before[name]
        best: tuple[float, str, float] | None = None
        for other, p in self.method.named_parameters():
            if other == name or p.shape != shape or not p.requires_grad or len(way) < LEAST:
                continue
            apart = before[other] - before[name]
            if not apart.any():
                continue
            cosine = float(torch.cosine_similarity(way.double(), apart.double(), dim=0))
            rate = float(way.double() @ apart.double() / apart.double().square().sum())
            if cosine > SAME_WAY and (best is None or cosine > best[0]):
                best = cosine, other, rate
        return None if best is None else (best[1], best[2])

    # ---- what is known at the end

    def finish(self) -> None:
        """Tell what only the whole training shows."""
        self._tell_shared()
        self._tell_idle()
        self._tell_moves()
        followers = {name for name, moves in self.moves.items() if moves}
        silent = [
            name
            for name, p in self.method.named_parameters()
            if p.requires_grad and name not in self.reached and name not in followers
        ]
        if silent:
            self._say(
                TRAINED,
                f"no gradient ever comes to {some(silent)}. Use it in the loss, or freeze it for good: "
                "requires_grad_(False), or MomentumEncoder for a network that follows",
            )

    def _tell_shared(self) -> None:
        """Tell of a network beside the backbone that is meant to follow it, and is the backbone."""
        names: dict[int, list[str]] = defaultdict(list)
        for name, p in self.method.named_parameters(remove_duplicate=False):
            names[id(p)].append(name)
        for shared in names.values():
            own = [name for name in shared if name.startswith("backbone.")]
            if not own:
                continue
            inner = own[0].removeprefix("backbone.")  # of which a word, such as key, tells nothing
            others = [
                name
                for name in shared
                if not name.startswith("backbone.") and _is_slow(name.removesuffix(inner))
            ]
            if others:
                holder = others[0].split(".")[0]
                self._say(
                    MOMENTUM,
                    f"self.{holder} shares its parameters with self.backbone: it is no copy, and moves with "
                    "every step. Write MomentumEncoder(...), which copies, or copy.deepcopy",
                )
                return

    def _tell_idle(self) -> None:
        for name in sorted(self.idle):
            if not any(moved.startswith(f"{name}.") for moved in self.moves):
                self._say(
                    MOMENTUM,
                    f"{name}.update() is never called: it stays what it was at the start. Call it in "
                    "after_step(), or use a frozen copy (copy.deepcopy) where it is to stay",
                )

    def _tell_moves(self) -> None:
        for name, moves in self.moves.items():
            first = moves[0]
            if first.hook == "after_batch":
                self._say(
                    MOMENTUM,
                    f"after_batch() moves {name} towards {first.towards}: before the optimiser's step, and "
                    "once a batch, which with train.accumulate is more than once a step. Move it in "
                    "after_step()",
                )
            if any(move.by_gradient and name in self.reached for move in moves):
                self._say(
                    MOMENTUM,
                    f"{name} is moved towards {first.towards}, and trained by gradient as well. Freeze it: "
                    "requires_grad_(False), or MomentumEncoder",
                )
            hooks = {move.hook for move in moves if move.step == moves[-1].step}
            if len(hooks) > 1:
                self._say(
                    MOMENTUM,
                    f"{name} is moved in {' and in '.join(sorted(hooks))}. Move it once a step, in "
                    "after_step()",
                )
            elif (turned := self._find_turned(moves)) is not None:
                self._say(
                    MOMENTUM,
                    f"{name} is moved by {moves[-1].rate:.3g} of the way, where a momentum of {turned:g} is "
                    f"{1 - turned:.3g}: m and 1 - m have changed places",
                )
            elif (twice := self._find_double(moves)) is not None:
                self._say(
                    MOMENTUM,
                    f"{name} is moved twice in {first.hook}(): by {moves[-1].rate:.3g} of the way, where a "
                    f"momentum of {twice:g} is {1 - twice:.3g}. Move it once",
                )

    def _find_double(self, moves: Iterable[Move]) -> float | None:
        """Return the momentum that a parameter was moved by twice, each time; none where it was once."""
        momenta = [m for m in _numbers(self.method) if 0.5 <= m < 1]  # of a network that follows
        if any(_is_rate(moves, 1 - m, m) for m in momenta):  # another one says it as it is
            return None
        return next((m for m in momenta if _is_rate(moves, 1 - m**2, m)), None)

    def _find_turned(self, moves: Iterable[Move]) -> float | None:
        """Return the momentum that is taken for the share of the way; none where it is right."""
        return next((m for m in _numbers(self.method) if 0.9 <= m < 1 and _is_rate(moves, m, m)), None)


def _is_rate(moves: Iterable[Move], rate: float, momentum: float) -> bool:
    """Tell whether each move but the first two is by this share of the way, that a momentum is near."""
    rates = [move.rate for move in moves if move.step > 1]  # before, the two are next to one another
    return bool(rates) and all(abs(found - rate) < 0.1 * (1 - momentum) for found in rates)


SLOW = ("target", "teacher", "momentum", "ema", "key", "slow", "average")


def _is_slow(name: str) -> bool:
    """Tell whether a parameter's name says that it is of a network that follows another."""
    parts = name.lower().replace("_", ".").split(".")
    return any(part in SLOW for part in parts)


def _numbers(method: Method) -> list[float]:
    """Return the numbers that are set of a method: its own attributes, and those of its settings."""
    values = list(vars(method).values())
    for value in list(values):
        if is_dataclass(value):
            values += [getattr(value, field.name) for field in fields(value)]
    return [float(value) for value in values if isinstance(value, float)]


def _inputs(hook: str, args: tuple[Any, ...]) -> list[tuple[str, Tensor]]:
    """Return the tensors that a function is given, each with what it is."""
    found: list[tuple[str, Tensor]] = []
    for arg in args:
        if isinstance(arg, Batch):
            found += [("batch.labels", arg.labels), ("batch.index", arg.index)]
            found += [(f"batch.draws[{name!r}]", x) for name, x in arg.draws.items()]
        elif hook == "embed":
            found += [(f"views[{number}]", x) for number, x in enumerate(arg)]
        elif isinstance(arg, Mapping):
            found += [(f"embeddings[{name!r}]", x.detach()) for name, x in arg.items()]
    return found


def _foreign_states() -> tuple[Any, Any]:
    """Return the states of the generators that no seed of a run sets."""
    return random.getstate(), repr(np.random.get_state(legacy=False))  # noqa: NPY002


def _where_to_draw(hook: str) -> str:
    if hook == "draw":
        return "Draw from the generator that draw() is given"
    if hook == "embed":
        return "Draw in draw(), from the generator that it is given; embed() finds it in batch.draws"
    return "Draw with torch, which the harness seeds before it calls"

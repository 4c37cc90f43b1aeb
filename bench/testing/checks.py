"""What the checks of every kind share: how one is run, and what a Config must be."""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NoReturn

import torch
from torch import Tensor

from bench.boundary import is_from_user
from bench.config import build, identity
from bench.errors import one_line
from bench.keys import canonical

ALIKE = 0.8  # of difflib: two names that are more alike are one, written in two ways
MUTABLE = (list, dict, set, bytearray, Tensor)
HOOK = re.compile(r"(before|after|on)_(\w+_)?(init|step|batch|epoch|pass|train|training|fit|views?)(_\w+)?")

Check = tuple[str, Callable[[], None]]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of a check. As a pair it is its name and its error: `for name, error in check(…)`.

    Args:
        name: of the check, a sentence that is to be true.
        error: what was found in its place, and what mends it; none where it is true or was not looked at.
        skipped: why it was not looked at; none where it was.
    """

    name: str
    error: str | None = None
    skipped: str | None = None

    def __iter__(self) -> Iterator[str | None]:
        """Yield the name and the error."""
        yield from (self.name, self.error)

    @property
    def state(self) -> str:
        """Return `ok`, `FAILED` or `skipped`."""
        return "FAILED" if self.error is not None else "ok" if self.skipped is None else "skipped"


class NotApplied(Exception):
    """A check is not looked at; the message is why."""


def skip(why: str) -> NoReturn:
    """Leave out the check that calls this, which is listed with the reason.

    Raises:
        NotApplied: always.
    """
    raise NotApplied(why)


def run(checks: Iterable[Check]) -> Iterator[Outcome]:
    """Run each check, and yield what came of it.

    A check has run before the next one is asked for, so that a generator of checks can leave out
    those that need what an earlier one did not get.
    """
    remaining = iter(checks)
    while True:
        title = "it can be checked further"  # what a generator of checks asks of a plugin may raise, too
        try:
            found = next(remaining, None)
            if found is None:
                return
            title, body = found
            body()
        except NotApplied as reason:
            yield Outcome(title, skipped=str(reason))
        except BaseException as error:
            if is_from_user(error):
                raise
            message = str(error) if isinstance(error, AssertionError) else ""
            yield Outcome(title, message or one_line(error))
        else:
            yield Outcome(title)


def require(holds: bool, otherwise: str) -> None:  # noqa: FBT001 - reads like assert, which -O removes
    """Raise AssertionError with what was found, unless the condition holds."""
    if not holds:
        raise AssertionError(otherwise)


def alike(one: Tensor, other: Tensor) -> bool:
    """Tell whether two tensors differ by rounding only."""
    return one.shape == other.shape and torch.allclose(one.float(), other.float(), rtol=1e-3, atol=1e-4)


def some(names: Iterable[str], most: int = 3) -> str:
    """Return the first few of some names, and how many more there are."""
    listed = list(names)
    rest = len(listed) - most
    return ", ".join(listed[:most]) + (f" and {rest} more" if rest > 0 else "")


def class_checks(cls: type[Any], base: type[Any], name: str) -> Iterator[Check]:
    """Yield the checks that are the same for every kind."""
    yield (
        f"extends {base.__name__}",
        lambda: require(issubclass(cls, base), f"its bases are {cls.__mro__[1:]}"),
    )
    yield "has a docstring", lambda: require("__doc__" in vars(cls) and bool(cls.__doc__), "it has none")
    yield "version is a whole number from 1", lambda: _version(cls)
    yield "no name is one of the contract's, misspelt", lambda: _names(cls, base)
    yield "Config is a frozen, keyword-only dataclass", lambda: _config_class(cls.Config)
    yield "every setting has a meaning and a source", lambda: _documented(cls.Config)
    yield "no setting can be changed in place", lambda: _unchanging(cls.Config)
    yield "Config builds, and its defaults are in range", lambda: _defaults(cls.Config, name)


def _version(cls: type[Any]) -> None:
    require(isinstance(cls.version, int) and cls.version >= 1, f"it is {cls.version!r}")


def _names(cls: type[Any], base: type[Any]) -> None:
    """Refuse a name that the harness never asks for and that is like one that it does."""
    contract = {name for name in _own_names(base) if not name.startswith("_")}
    given = {name for part in cls.__mro__ if not issubclass(base, part) for name in vars(part)}
    unknown = sorted(name for name in given - contract if not name.startswith("_"))
    missing = sorted(contract - given)  # a helper beside what it is like is no slip
    found = []
    for name in unknown:
        near = difflib.get_close_matches(name, missing, n=1, cutoff=ALIKE)
        if near:
            found.append(f"{name} is never asked for; is it meant to be {near[0]}?")
        elif HOOK.fullmatch(name):
            hooks = [known for known in sorted(contract) if HOOK.fullmatch(known)]
            if hooks:
                found.append(f"{name} is never called; there are {', '.join(hooks)}")
    require(not found, f"{'; '.join(found)}. Rename it, or give it another name with _ before it")


def _own_names(base: type[Any]) -> set[str]:
    """Return the names of a contract, without those of torch and Python."""
    parts = [part for part in base.__mro__ if part.__module__.startswith("bench.")]
    return {name for part in parts for name in (*vars(part), *vars(part).get("__annotations__", {}))}


def _config_class(config: type[Any]) -> None:
    require(dataclasses.is_dataclass(config), f"{config!r} is no dataclass")
    parameters = config.__dataclass_params__
    require(parameters.frozen, "write @dataclass(frozen=True, kw_only=True)")
    positional = [f.name for f in dataclasses.fields(config) if not f.kw_only]
    require(not positional, f"{', '.join(positional)}: write @dataclass(frozen=True, kw_only=True)")


def _documented(config: type[Any]) -> None:
    bare = [
        f.name for f in dataclasses.fields(config) if not (f.metadata.get("doc") and f.metadata.get("source"))
    ]
    require(not bare, f"{', '.join(bare)}: declare it with bench.api.setting(default, doc, source=...)")


def _unchanging(config: type[Any]) -> None:
    wrong = []
    for field in dataclasses.fields(config):
        made = field.default_factory() if callable(field.default_factory) else field.default
        if isinstance(made, MUTABLE) or callable(field.default_factory):
            wrong.append(f"{field.name} is a {type(made).__name__}")
        elif re.match(r"(typing\.)?(list|dict|set|List|Dict|Set)\b", _spell(field.type)):
            wrong.append(f"{field.name} is declared as {_spell(field.type)}")
    require(
        not wrong,
        f"{'; '.join(wrong)}, which can change after the key of a result was made of it. Use a tuple",
    )


def _spell(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else str(annotation).replace("<class '", "")


def _defaults(config: type[Any], name: str) -> None:
    values = identity(config())
    rebuilt = build(config, {key: value for key, value in values.items() if value is not None}, name)
    require(rebuilt == config(), f"{config()} became {rebuilt}")
    canonical(values)


def finite_scalars(values: Mapping[str, Tensor], what: str) -> None:
    """Require a dict of finite tensors of no dimension."""
    require(isinstance(values, dict), f"{what} returned {type(values).__name__}, not a dict")
    for name, value in values.items():
        shape = tuple(value.shape)
        require(value.ndim == 0, f"{what}: {name} has shape {shape}; return a scalar")
        number = value.detach().item()
        require(math.isfinite(number), f"{what}: {name} is {number}")

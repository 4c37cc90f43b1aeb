"""What the checks of every kind share: how one is run, and what a Config must be."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from bench.boundary import is_from_user
from bench.config import build, identity
from bench.errors import one_line
from bench.keys import canonical

Outcome = tuple[str, str | None]
Check = tuple[str, Callable[[], None]]


def run(checks: Iterable[Check]) -> Iterator[Outcome]:
    """Run each check, and yield its name with what it raised, or none.

    A check has run before the next one is asked for, so that a generator of checks can leave out
    those that need what an earlier one did not get.
    """
    remaining = iter(checks)
    while True:
        title = "it can be checked further"  # what a generator of checks asks of a plugin may raise, too
        try:
            title, body = next(remaining)
            body()
        except StopIteration:
            return
        except BaseException as error:
            if is_from_user(error):
                raise
            message = str(error) if isinstance(error, AssertionError) else ""
            yield title, message or one_line(error)
        else:
            yield title, None


def require(holds: bool, otherwise: str) -> None:  # noqa: FBT001 - reads like assert, which -O removes
    """Raise AssertionError with what was found, unless the condition holds."""
    if not holds:
        raise AssertionError(otherwise)


def alike(one: Tensor, other: Tensor) -> bool:
    """Tell whether two tensors differ by rounding only."""
    close = torch.allclose(one.float(), other.float(), rtol=1e-3, atol=1e-4)
    return one.shape == other.shape and close


def class_checks(cls: type[Any], base: type[Any], name: str) -> Iterator[Check]:
    """Yield the checks that are the same for every kind."""
    yield (
        f"extends {base.__name__}",
        lambda: require(issubclass(cls, base), f"its bases are {cls.__mro__[1:]}"),
    )
    yield "has a docstring", lambda: require("__doc__" in vars(cls) and bool(cls.__doc__), "it has none")
    yield "version is a whole number from 1", lambda: _version(cls)
    yield "Config is a frozen, keyword-only dataclass", lambda: _config_class(cls.Config)
    yield "every setting has a meaning and a source", lambda: _documented(cls.Config)
    yield "Config builds, and its defaults are in range", lambda: _defaults(cls.Config, name)


def _version(cls: type[Any]) -> None:
    require(isinstance(cls.version, int) and cls.version >= 1, f"it is {cls.version!r}")


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


def _defaults(config: type[Any], name: str) -> None:
    values = identity(config())
    rebuilt = build(config, {key: value for key, value in values.items() if value is not None}, name)
    require(rebuilt == config(), f"{config()} became {rebuilt}")
    canonical(values)


def finite_scalars(values: dict[str, Tensor], what: str) -> None:
    """Require a dict of finite tensors of no dimension."""
    require(isinstance(values, dict), f"{what} returned {type(values).__name__}, not a dict")
    for name, value in values.items():
        shape = tuple(value.shape)
        require(value.ndim == 0, f"{what}: {name} has shape {shape}; return a scalar")
        number = value.detach().item()
        require(math.isfinite(number), f"{what}: {name} is {number}")

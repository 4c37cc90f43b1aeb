"""Say which plugin uses a name that will be taken away."""

from __future__ import annotations

import functools
import importlib.metadata
import logging
import sys
from dataclasses import dataclass

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Deprecation:
    """A name of `bench.api` that has another one.

    Args:
        instead: what to write in its place.
        gone: the version of the api without it.
    """

    instead: str
    gone: tuple[int, int]


def tell_deprecation(name: str, deprecated: Deprecation) -> None:
    """Log, once a module, which plugin imports a name that will be taken away, and what to write instead."""
    _tell(_find_importer(), name, deprecated)


@functools.cache
def _tell(module: str, name: str, deprecated: Deprecation) -> None:
    log.warning(
        "%s: bench.api.%s will be gone in version %s of the api. Write %s instead.",
        _describe_owner(module),
        name,
        ".".join(map(str, deprecated.gone)),
        deprecated.instead,
    )


def _find_importer() -> str:
    """Return the name of the module whose statement led here, past those of bench.api and of imports."""
    frame = sys._getframe(1)  # noqa: SLF001 - the way that CPython has
    while frame.f_back is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if module not in (__name__, "bench.api") and not module.startswith("importlib"):
            return module
        frame = frame.f_back
    return "a script"


def _describe_owner(module: str) -> str:
    """Return the distribution of a plugin's module, with its version; of another module, its name."""
    package = module.partition(".")[0]
    for point in importlib.metadata.entry_points(group="bench"):
        if point.module.partition(".")[0] == package and point.dist is not None:
            return f"{point.dist.name} {point.dist.version} ({module})"
    return module

"""Find a built-in format by its name; those of others are known to the registry only."""

from __future__ import annotations

import importlib

from bench.errors import UnknownName, suggest
from bench.reporting.formats import bench_formats
from bench.reporting.formats.base import TableFormat


def load_built_in(name: str) -> TableFormat:
    """Return the built-in format of that name.

    Raises:
        UnknownName: there is none.
    """
    targets = {offer.name: offer.target for offer in bench_formats()}
    if name not in targets:
        raise UnknownName(f"no format is named {name!r}.{suggest(name, targets)}")
    module, _, class_name = targets[name].partition(":")
    cls: type[TableFormat] = getattr(importlib.import_module(module, __package__), class_name)
    return cls()

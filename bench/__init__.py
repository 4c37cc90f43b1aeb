"""Benchmark self-supervised learning on images."""

from __future__ import annotations

from importlib.metadata import version as _version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.storage.records import results

__all__ = ["__version__", "results"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version("ssl-bench")
    if name == "results":
        from bench.storage.records import results

        return results
    raise AttributeError(f"module 'bench' has no attribute {name!r}")

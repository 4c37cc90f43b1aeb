"""Benchmark self-supervised learning on images: pretrain, freeze, evaluate, compare."""

from __future__ import annotations

from importlib.metadata import version as _version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.execution.stored_backbone import load_backbone
    from bench.storage.frame import results

__all__ = ["__version__", "load_backbone", "results"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version("ssl-bench")
    if name == "results":
        from bench.storage.frame import results

        return results
    if name == "load_backbone":
        from bench.execution.stored_backbone import load_backbone

        return load_backbone
    raise AttributeError(f"module 'bench' has no attribute {name!r}")

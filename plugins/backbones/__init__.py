"""Networks from images to features: what this folder offers."""

from __future__ import annotations

from collections.abc import Iterator

from bench.api import Family, Offer, hookimpl


@hookimpl
def bench_backbones() -> Iterator[Family | Offer]:
    """Offer the built-in backbones."""
    yield Family("timm", ".timm:Timm", "Any model of timm, e.g. resnet18.", ".timm_names:timm_names")
    yield Offer("pixels", ".pixels:Pixels", "The pixels themselves, without a network.")

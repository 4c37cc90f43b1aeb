"""What a cell cost: seconds by stage, memory, operations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def cost_fields(
    passes: Sequence[Mapping[str, Any]], evaluate_s: float, evaluate_mb: float, threads: Sequence[int]
) -> dict[str, Any]:
    """Return what a cell cost by stage, whether a stage was run now or in an earlier run.

    Args:
        passes: what the features' artifacts say of each split; older ones do not say how many images there
            were, and how many threads.
        evaluate_s: seconds in the evaluator.
        evaluate_mb: the most memory that was held in the evaluator, in MB.
        threads: that the evaluator had.
    """
    backbone, features_s = passes[0]["backbone"], sum(about["seconds"] for about in passes)
    counted = all("images" in about for about in passes)
    return {
        "seconds": {"pretrain": backbone["seconds"], "features": features_s, "evaluate": evaluate_s},
        **{name: backbone[name] for name in ("images_per_s", "params", "flops")},
        "passes": backbone.get("passes"),
        "features_images_per_s": sum(about["images"] for about in passes) / features_s if counted else None,
        "peak_mb": {
            "pretrain": backbone.get("peak_mb"),
            "features": max((about["peak_mb"] for about in passes if "peak_mb" in about), default=None),
            "evaluate": evaluate_mb,
        },
        "devices": list(backbone.get("devices") or ()),
        "threads": {
            "pretrain": backbone.get("threads"),
            "features": sorted({count for about in passes for count in about.get("threads", ())}),
            "evaluate": list(threads),
        },
    }


def forward_flops(backbone: nn.Module, channels: int, image_size: int, device: torch.device) -> int:
    """Return the floating-point operations of one image's forward pass; a multiply-add is two."""
    training = backbone.training
    backbone.eval()
    images = torch.zeros(1, channels, image_size, image_size, device=device)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        backbone(images)
    backbone.train(training)
    total: int = counter.get_total_flops()
    return total

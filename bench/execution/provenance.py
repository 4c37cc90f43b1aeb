"""What ran, on what: recorded beside a result, never part of its key."""

from __future__ import annotations

import functools
import platform
import resource
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bench.registry.registry import Registry
from bench.system.device import describe

PACKAGES = ("torch", "torchvision", "timm", "numpy", "scikit-learn")


def provenance(device: torch.device, registry: Registry) -> dict[str, Any]:
    """Return versions, code and device, without the machine's name."""
    return {
        "bench": _version("ssl-bench"),
        "plugins": {plugin.id: plugin.version for plugin in registry.plugins if not plugin.blocked},
        "packages": {name: _version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "device": describe(device),
        **_code(),
    }


@functools.cache
def _version(name: str) -> str:
    return version(name)  # parses a file, and a grid asks for each of its cells


@functools.cache
def _code() -> dict[str, Any]:
    """Return the commit the harness runs from and whether it was changed, if it is a checkout."""
    here = Path(__file__).parent
    try:
        commit = _git(here, "rev-parse", "HEAD")
        tracked = _git(here, "ls-files", "--error-unmatch", Path(__file__).name)
    except (OSError, subprocess.CalledProcessError):
        return {"git_commit": None, "git_dirty": None}
    dirty = bool(_git(here, "status", "--porcelain", "--untracked-files=no"))
    return {"git_commit": commit if tracked else None, "git_dirty": dirty}


def _git(folder: Path, *args: str) -> str:
    command = ["git", "-C", str(folder), *args]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - our own arguments
    return done.stdout.strip()


def peak_mb(device: torch.device) -> float:
    """Return the most memory this process has held so far, in MB: the device's, or its own."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


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

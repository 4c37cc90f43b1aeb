"""What ran, on what: recorded beside a result, never part of its key."""

from __future__ import annotations

import functools
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from bench.registry.registry import Registry
from bench.system.device import describe_device

PACKAGES = ("torch", "torchvision", "timm", "numpy", "scikit-learn")


def provenance(device: torch.device, registry: Registry) -> dict[str, Any]:
    """Return versions, code and device, without the machine's name."""
    return {
        "bench": _version("ssl-bench"),
        "plugins": {plugin.id: plugin.version for plugin in registry.plugins if not plugin.blocked},
        "packages": {name: _version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "device": describe_device(device),
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

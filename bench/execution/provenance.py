"""The code and the device of a run: recorded beside a result, never part of its key."""

from __future__ import annotations

import functools
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from bench.registry.registry import Registry
from bench.system.arithmetic import describe_arithmetic
from bench.system.device import describe_device

PACKAGES = ("torch", "torchvision", "timm", "numpy", "scikit-learn")


def describe_provenance(device: torch.device, registry: Registry) -> dict[str, Any]:
    """Return versions, code and device, without the machine's name."""
    return {
        "bench": _read_version("ssl-bench"),
        "plugins": {plugin.id: plugin.version for plugin in registry.plugins if not plugin.blocked},
        "packages": {name: _read_version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "device": describe_device(device),
        **describe_arithmetic(device),
        **_describe_code(),
    }


@functools.cache
def _read_version(name: str) -> str:
    return version(name)  # it parses a file, and every cell of a grid needs it


@functools.cache
def _describe_code() -> dict[str, Any]:
    """Return the commit the harness runs from and whether it was changed, if it is a checkout."""
    here = Path(__file__).parent
    try:
        commit = _run_git(here, "rev-parse", "HEAD")
        tracked = _run_git(here, "ls-files", "--error-unmatch", Path(__file__).name)
    except (OSError, subprocess.CalledProcessError):
        return {"git_commit": None, "git_dirty": None}
    dirty = bool(_run_git(here, "status", "--porcelain", "--untracked-files=no"))
    return {"git_commit": commit if tracked else None, "git_dirty": dirty}


def _run_git(folder: Path, *args: str) -> str:
    command = ["git", "-C", str(folder), *args]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - our own arguments
    return done.stdout.strip()

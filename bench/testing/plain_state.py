"""What a method keeps outside of parameters and buffers, where no checkpoint has it."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

MOST_DEPTH = 4  # of containers within each other
OF_TORCH = frozenset(vars(nn.Module()))  # `training`, `_buffers`, hooks
LIBRARY = ("torch.", "timm.", "torchvision.")  # whose modules cache what they like

Snapshot = Mapping[str, tuple[str, str]]  # by attribute: what it is, and a print of its value


def take_snapshot(method: nn.Module) -> Snapshot:
    """Return what is kept in plain attributes of a method and of its modules."""
    found = {}
    for path, module in method.named_modules():
        if path and type(module).__module__.startswith(LIBRARY):
            continue
        for name, value in vars(module).items():
            if name not in OF_TORCH and (printed := _print(value)) is not None:
                found[f"{path}.{name}".lstrip(".")] = (describe(value), printed)
    return found


def list_changes(before: Snapshot, after: Snapshot) -> dict[str, str]:
    """Return which attributes have another value or are new, each with what it is."""
    return {name: kind for name, (kind, value) in after.items() if before.get(name, ("", ""))[1] != value}


def describe(value: Any) -> str:
    """Return what a value is, as a sentence names it."""
    if isinstance(value, Tensor):
        return "a plain tensor"
    if isinstance(value, (torch.Generator, np.random.Generator)):
        return "a random generator"
    return (
        f"a {type(value).__name__}" if type(value).__name__[0] not in "aeio" else f"an {type(value).__name__}"
    )


def _print(value: Any, depth: int = 0) -> str | None:
    """Return text that is another for another value; none of what holds no numbers."""
    if isinstance(value, (bool, int, float, str, type(None), np.generic)):
        return repr(value)
    if isinstance(value, Tensor):
        return _digest(value.detach().cpu().float().numpy()) if not isinstance(value, nn.Parameter) else None
    if isinstance(value, np.ndarray):
        return _digest(value)
    if isinstance(value, torch.Generator):
        return _digest(value.get_state().numpy())
    if isinstance(value, np.random.Generator):
        return repr(value.bit_generator.state)
    if isinstance(value, Mapping) and depth < MOST_DEPTH:
        return repr({repr(key): _print(item, depth + 1) for key, item in value.items()})
    if isinstance(value, (list, tuple, deque, set)) and depth < MOST_DEPTH:
        return repr([_print(item, depth + 1) for item in value])
    return None


def _digest(values: Any) -> str:
    return hashlib.blake2b(np.ascontiguousarray(values).tobytes(), digest_size=16).hexdigest()

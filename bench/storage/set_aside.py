"""Set aside what cannot be believed: it keeps its content, under a name that nothing is looked for by."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

REJECTED = ".rejected"  # after the name of what was set aside


def set_aside(path: Path) -> Path:
    """Rename a file or folder to the first free name of its own with `.rejected`, and return that."""
    for number in itertools.count(1):
        target = path.with_name(f"{path.name}{REJECTED}" + (f"-{number}" if number > 1 else ""))
        if not os.path.lexists(target):
            path.rename(target)
            return target
    raise AssertionError  # the numbers do not end


def is_set_aside(path: Path) -> bool:
    """Tell whether a path is one that was set aside."""
    return REJECTED in path.name

"""The environment of a process that a test starts: it runs the bench that is under test, and no other."""

from __future__ import annotations

import os
from pathlib import Path

import bench

UNDER_TEST = Path(bench.__file__).parents[1]


def environment(*folders: Path, **variables: str) -> dict[str, str]:
    """Return the environment of this process, with some folders and its bench first on the path.

    Args:
        folders: of modules and distributions.
        variables: that are set, too.
    """
    inherited = os.environ.get("PYTHONPATH")
    path = [*map(str, folders), str(UNDER_TEST), *([inherited] if inherited else [])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path), **variables}

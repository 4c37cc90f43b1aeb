"""Write figures as files of their own: a page's colours are then those that the figures fall back to."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from bench.errors import UsageError
from bench.report.figure import Figure

VARIABLE = re.compile(r"var\(--[a-z0-9]+, *([^()]+)\)")  # which only browsers know


def write_figures(figures: Iterable[Figure], folder: Path) -> list[Path]:
    """Write each figure as `NAME.svg`, and return the files.

    Raises:
        UsageError: the folder cannot be written to.
    """
    paths = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for figure in figures:
            path = folder / f"{figure.name}.svg"
            path.write_text(VARIABLE.sub(r"\1", figure.svg), encoding="utf-8")
            paths.append(path)
    except OSError as error:
        raise UsageError(
            f"--figures: {folder} cannot be written to ({error.strerror}). Choose another folder."
        ) from None
    return paths

"""Find out whether a folder can be written to, before a run that takes hours depends on it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from bench.errors import UsageError

PROBE_BYTES = 1 << 16  # an empty file can be created even on a full disk


def refuse_unwritable(folders: Iterable[Path], results: Path) -> None:
    """Refuse folders that cannot be created or written to; nothing is created or left behind.

    Args:
        folders: they need not exist.
        results: the folder that the error names.

    Raises:
        UsageError: one of them cannot be written to.
    """
    for existing in dict.fromkeys(map(_find_existing, folders)):
        try:
            with tempfile.TemporaryFile(dir=existing) as file:
                file.write(bytes(PROBE_BYTES))
        except OSError as error:
            raise UsageError(
                f"--results {results}: {existing} cannot be written to ({error.strerror}). "
                "Choose another folder with --results."
            ) from None


def _find_existing(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that exists."""
    return next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))

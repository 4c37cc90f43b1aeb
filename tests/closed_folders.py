"""Have a folder refuse to be read, as another user's does: whoever runs the tests may be root."""

from __future__ import annotations

import builtins
import errno
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

INSIDE = ("stat", "lstat", "open", "mkdir", "scandir", "listdir", "rename", "replace", "unlink")
ITSELF = ("scandir", "listdir")


def close(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Refuse to list a folder, and to look at anything in it, for the length of a test."""
    inside = f"{folder}{os.sep}"

    def guard(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def refuse_or_call(path: Any = ".", *args: Any, **options: Any) -> Any:
            text = os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else ""
            if text.startswith(inside) or (name in ITSELF and text == str(folder)):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), text)
            return call(path, *args, **options)

        return refuse_or_call

    access = os.access

    def may(path: Any, *args: Any, **options: Any) -> bool:
        is_closed = str(path).startswith(inside) or str(path) == str(folder)
        return not is_closed and access(path, *args, **options)

    for name in INSIDE:
        patch.setattr(os, name, guard(name, getattr(os, name)))
    for module in (io, builtins):
        patch.setattr(module, "open", guard("open", open))
    patch.setattr(os, "access", may)


def close_locks(patch: pytest.MonkeyPatch) -> None:
    """Refuse to open the files that locks are made of."""
    opened = os.open

    def refuse_or_open(path: Any, *args: Any, **options: Any) -> int:
        if str(path).endswith(".lock"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return opened(path, *args, **options)

    patch.setattr(os, "open", refuse_or_open)

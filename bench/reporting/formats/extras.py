"""Import what only one format needs, or say which extra brings it."""

from __future__ import annotations

import importlib
from typing import Any

from bench.errors import UsageError


def import_extra(module: str, extra: str) -> Any:
    """Return a module that an extra of bench installs.

    Args:
        module: its name.
        extra: the extra's, which is the format's too.

    Raises:
        UsageError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UsageError(
            f"--format {extra}: it needs {module.partition('.')[0]}, which cannot be imported ({error}). "
            f"Run `pip install 'ssl-bench[{extra}]'`."
        ) from None

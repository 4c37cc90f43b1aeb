"""Whether the packages of trackers are there."""

from __future__ import annotations

import importlib.util

from bench.api import UsageError


def refuse_missing(logger: str, package: str) -> None:
    """Refuse a logger whose package is not installed.

    Args:
        logger: its name, which is that of the extra, too.
        package: that it needs.

    Raises:
        UsageError: the package is not there.
    """
    if importlib.util.find_spec(package) is None:
        raise UsageError(
            f"--log {logger}: {package} is not installed. Use pip install 'ssl-bench[{logger}]'."
        )

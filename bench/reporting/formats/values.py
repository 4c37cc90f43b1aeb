"""Write values as every format shows them."""

from __future__ import annotations

from typing import Any


def format_value(value: Any) -> str:
    """Return a setting's value as one would write it on the command line."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(format_value, value)) or "[]"
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)

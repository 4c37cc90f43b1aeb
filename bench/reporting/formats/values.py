"""Write values as every format shows them."""

from __future__ import annotations

import re
from typing import Any

CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f]")


def format_value(value: Any) -> str:
    """Return a setting's value as one would write it on the command line."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(format_value, value)) or "[]"
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)


def join_lines(text: str) -> str:
    """Return `text` on one line, each run of white space as one blank, with nothing that moves a cursor."""
    return CONTROLS.sub("\ufffd", " ".join(text.split()))

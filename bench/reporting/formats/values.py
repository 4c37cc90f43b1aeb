"""Write values as every format shows them."""

from __future__ import annotations

import re
from typing import Any

# signs that steer a terminal, turn the direction of writing round, or are halves of signs
UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


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
    """Return `text` on one line, each run of white space as one blank, signs that are not seen escaped."""
    return UNSEEN.sub(lambda match: ascii(match[0])[1:-1], " ".join(text.split()))

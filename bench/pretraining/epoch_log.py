"""The file `metrics.jsonl` of a training, a line an epoch: to be read by people, nothing rests on it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def write_lines(path: Path, log: Iterable[Mapping[str, Any]]) -> None:
    """Write the epochs that a checkpoint has: what was logged after it is done again."""
    path.write_text("".join(map(_encode, log)))


def append_line(path: Path, metrics: Mapping[str, Any]) -> None:
    """Append an epoch's line."""
    with path.open("a") as file:
        file.write(_encode(metrics))


def _encode(metrics: Mapping[str, Any]) -> str:
    return json.dumps(dict(metrics)) + "\n"

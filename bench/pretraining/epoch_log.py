"""The file `metrics.jsonl` of a training, a line an epoch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def keep_lines(path: Path, count: int) -> None:
    """Cut a file to its first `count` lines: what was logged after the checkpoint is done again."""
    if path.exists():
        lines = path.read_text().splitlines(keepends=True)[:count]
        path.write_text("".join(lines))


def append_line(path: Path, metrics: Mapping[str, Any]) -> None:
    """Append an epoch's line."""
    with path.open("a") as file:
        file.write(json.dumps(dict(metrics)) + "\n")

"""Name the files of an artifact."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.bounded_files import read_bounded

BACKBONE, PREDICTIONS = "backbone.safetensors", "predictions.safetensors"
METRICS = "metrics.jsonl"  # of a training, a line an epoch
ABOUT = "about.json"  # what an artifact cost and, of a backbone, how it is to be used


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a value as readable JSON."""
    path.write_text(json.dumps(value, indent=1) + "\n")


def read_about(folder: Path) -> dict[str, Any]:
    """Return what the artifact in `folder` says of itself."""
    about: dict[str, Any] = json.loads(read_bounded(folder / ABOUT))
    return about

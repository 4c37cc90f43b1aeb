"""Read what a training logged of its epochs."""

from __future__ import annotations

import json
from typing import Any

from bench.storage.artifact_files import METRICS
from bench.storage.artifacts import ArtifactStore

Epoch = dict[str, Any]  # a line of the file: what was measured, by name


def read_epochs(artifacts: ArtifactStore, backbone_key: str) -> list[Epoch]:
    """Return the epochs of a training, by ascending epoch; none where they are not stored.

    A line that is damaged is left out: nothing rests on the file.

    Args:
        artifacts: of the results folder.
        backbone_key: the key of the training.
    """
    if not artifacts.has(backbone_key):
        return []
    try:
        text = (artifacts.folder / backbone_key / METRICS).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    epochs = {line["epoch"]: line for line in map(_decode, text.splitlines()) if line is not None}
    return [epochs[number] for number in sorted(epochs)]


def _decode(line: str) -> Epoch | None:
    try:
        values = json.loads(line)
    except ValueError:
        return None
    if not isinstance(values, dict) or not isinstance(values.get("epoch"), (int, float)):
        return None
    return values

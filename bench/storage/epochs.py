"""Read what a training logged of its epochs."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator, Sequence
from typing import Any

from bench.bounds import WHOLE
from bench.storage.artifact_files import METRICS
from bench.storage.artifacts import ArtifactStore
from bench.storage.presence import is_there
from bench.storage.record_json import BROKEN

LARGEST_FILE = 1 << 28  # bytes: a line an epoch takes some hundred

log = logging.getLogger("bench")

Epoch = dict[str, Any]  # a line of the file: what was measured, by name


def read_epochs(artifacts: ArtifactStore, backbone_key: str) -> list[Epoch]:
    """Return the epochs of a training, by ascending epoch; none where they are not stored.

    A line that is none is left out. A file that is not what was logged is named and left out whole: a number
    in it may be another.

    Args:
        artifacts: of the results folder.
        backbone_key: the key of the training.
    """
    path = artifacts.folder / backbone_key / METRICS
    if not artifacts.is_whole(backbone_key, METRICS, LARGEST_FILE):
        if is_there(path):
            log.warning("%s: it is not what was logged, and is left out.", path)
        return []
    text = path.read_text(encoding="utf-8", errors="replace")
    epochs = {line["epoch"]: line for line in _decode(text.splitlines()) if _is_epoch(line)}
    return [epochs[number] for number in sorted(epochs)]


def _decode(lines: Sequence[str]) -> Iterator[Any]:
    """Yield the values of lines; all are decoded in one, which takes half the time, unless one is damaged."""
    try:
        yield from json.loads(f"[{','.join(lines)}]")
    except BROKEN:
        for line in lines:
            with contextlib.suppress(*BROKEN):
                yield json.loads(line)


def _is_epoch(line: Any) -> bool:
    return isinstance(line, dict) and type(line.get("epoch")) is int and 0 <= line["epoch"] < WHOLE

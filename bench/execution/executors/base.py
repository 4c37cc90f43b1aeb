"""How the cells of a grid are shared out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class PipelineSpec:
    """What a process needs to set up a pipeline of its own."""

    results: Path
    data_dir: Path
    device: str
    threads: int
    blocked: tuple[str, ...]
    packed: bool = False

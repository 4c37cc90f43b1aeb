"""A run that did not happen, for what observes and logs one."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.api import Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return two epochs of twist on gratings, whose results are in an empty folder."""
    return Run(
        key="0123",
        title="twist on gratings",
        method="twist",
        backbone="convmixer_small",
        dataset="gratings",
        seed=0,
        settings={},
        training={},
        results=str(tmp_path),
        folder=str(tmp_path / "artifacts"),
        epochs=2,
        steps=22,
    )

"""A run of two scores that is logged, in a folder of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from logged_runs import GRID, Logged

from bench.cli import main
from bench.storage.records import RecordStore


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Logged]:
    """Run a grid with a logger, and return what it left."""
    monkeypatch.setattr("bench.contracts.logger.Logger.step_interval", 1)
    folder = tmp_path / "results"

    def run(*args: str) -> Logged:
        done = CliRunner().invoke(main, ["run", *GRID, "--results", str(folder), *args])
        assert done.exit_code == 0, done.output
        assert "raised" not in done.output
        return Logged(folder, list(RecordStore(folder).records()))

    return run

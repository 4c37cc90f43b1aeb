"""Runs of a small grid on a cluster, and what they have stored."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from environment import environment

from bench.cli import main
from bench.storage.records import RecordStore

GRID = ("--backbone", "test_resnet", "--batch-size", "32", "--image-size", "16", "--eval", "knn",
        "--device", "cpu", "--set", "dataset.max_train=128", "--method", "simclr")  # fmt: skip


class Grid:
    """Runs of a grid in a folder of results, by workers of one thread.

    Args:
        results: the folder.
        executor: its name, and options of it.
    """

    def __init__(self, results: Path, *executor: str) -> None:
        self.results, self.executor = results, executor

    def _arguments(self, *args: str) -> list[str]:
        return ["run", *GRID, "--results", str(self.results), *self.executor, *args]

    def start(self, *args: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "bench", *self._arguments(*args)]
        return subprocess.Popen(
            command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def run(self, *args: str) -> str:
        """Run the grid in this process, in which torch is there already, and return the table."""
        done = CliRunner().invoke(main, self._arguments(*args))
        assert done.exit_code == 0, done.output
        return done.stdout

    def bench(self, *args: str) -> str:
        done = CliRunner().invoke(main, [*args, "--results", str(self.results)])
        assert done.exit_code == 0, done.output
        return done.stdout

    def numbers(self) -> dict[str, Any]:
        """Return what each record says that is no time, by the key of its score."""
        return {
            record["keys"]["score"]: (record["status"], record["metrics"], record["per_class"])
            for record in self.records()
        }

    def records(self) -> list[Any]:
        return list(RecordStore(self.results).records())

"""A logger: a journal of scores, a line each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.api import Logger, Record, Run, list_scores, setting


class Journal(Logger):
    """Write a line a score."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Where it is."""

        file: str | None = setting(None, "of the lines; none: journal.txt in the results")

    def log_record(self, run: Run, record: Record) -> None:
        """Write the scores of a cell, or why there are none."""
        path = Path(self.config.file) if self.config.file else self.results / "journal.txt"
        scores = ", ".join(f"{name} {value:.2f}" for name, value in list_scores(record).items())
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{run.title}: {scores or record['reason']}\n")

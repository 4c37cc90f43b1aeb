"""What the logger writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench_example.journal import Journal

from bench.api import Run


def test_the_journal_has_a_line_for_each_score(tmp_path: Path, run: Run) -> None:
    """Call it as a run with a score and a failure does."""
    cell = {"dataset": "gratings", "eval_dataset": "gratings", "evaluator": "lda", "label_frac": 1.0}
    scored: dict[str, Any] = {"cell": cell, "metrics": {"top1": {"value": 71.5}}}
    failed: dict[str, Any] = {"cell": cell, "metrics": {}, "reason": "there is one class"}
    journal = Journal(Journal.Config(), tmp_path)
    journal.log_record(run, scored)
    journal.log_record(run, failed)

    assert (tmp_path / "journal.txt").read_text().splitlines() == [
        "twist on gratings: lda/top1 71.50",
        "twist on gratings: there is one class",
    ]

"""Results that sections are built of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from report_pages import Build, write_results

from bench.report.results import Results, read_results
from bench.report.series import Names
from bench.report.styles import Palette
from bench.reporting.formats.base import Table
from bench.reporting.table import build_table


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Return what sections are built of, from records and logs."""

    def read(*args: Any) -> tuple[Results, Table, Names]:
        results = read_results([write_results(tmp_path / "results", *args)])
        table = build_table(results.records, mix_protocols=True, folder=results.folders[0])
        return results, table, Names(results, table, Palette())

    return read

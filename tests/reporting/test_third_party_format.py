"""A format that another distribution offers is chosen by its name, as a built-in one is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from made_records import make

from bench.cli.main import main
from bench.errors import UsageError
from bench.reporting.table import table
from bench.storage.records import RecordStore

LINES = [
    "a digits: 70.00 ± 0.00 (n=2)",
    "a other: nothing",
    "b digits: failed [1]",
    "b other: 71.00 [70.72, 71.28] (n=1)",
]


def records() -> list[dict[str, Any]]:
    failed = make("b", status="failed", reason="boom")
    return [make("a", seed=0), make("a", seed=1), failed, make("b", 71.0, dataset="other")]


def run_table(folder: Path, *options: str) -> Result:
    for record in records():
        RecordStore(folder).write(record)
    return CliRunner().invoke(main, ["table", "--results", str(folder), *options])


@pytest.mark.usefixtures("probes")
@pytest.mark.parametrize("name", ["lines", "probes:lines"])
def test_a_format_of_another_distribution_is_chosen_by_its_name(tmp_path: Path, name: str) -> None:
    result = run_table(tmp_path, "--format", name)

    assert result.stdout.splitlines() == LINES


@pytest.mark.usefixtures("probes")
def test_it_is_listed_and_suggested(tmp_path: Path) -> None:
    listing = CliRunner().invoke(main, ["list", "formats"]).stdout
    refused = run_table(tmp_path, "--format", "lnes")

    assert ["lines", "A", "line"] in [line.split()[:3] for line in listing.splitlines()]
    assert "(probes 1.0)" in listing
    assert refused.exit_code == 2
    assert "no format is named 'lnes'. Did you mean 'lines'?" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_a_format_of_ones_own_needs_no_registry_in_python(probes: Any) -> None:
    text = table(records(), format=probes.Lines())

    assert text.splitlines() == LINES


def test_whether_protocols_may_be_mixed_is_the_formats_own_choice(
    probes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixed = [make(seed=0), make(seed=1, protocol={"features": "fine-tuned"})]
    with pytest.raises(UsageError, match="mixes two protocols"):
        table(mixed, format=probes.Lines())
    monkeypatch.setattr(probes.Lines, "refuses_mixed", False)

    assert table(mixed, format=probes.Lines()) == "simclr top1: 70.00 ± 0.00"

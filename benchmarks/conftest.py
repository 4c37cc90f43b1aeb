"""The table of ratios: what each benchmark says in `benchmark.extra_info`, printed and written down.

    benchmark.extra_info.update(what="...", ratio=9.1, goal="at least 8")

`what` and `ratio` make a row; `goal` (`at least N` or `at most N`, with a unit if the ratio has one) and
`spread` may be left out.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tabulate import tabulate

from bench.system.device import choose_device, describe_device

torch.set_num_threads(1)  # of threads that wait for each other, a time says nothing

ROWS = pytest.StashKey[list[dict[str, Any]]]()
START, END = re.compile("<!-- table: .* -->"), "<!-- end of table -->"
GOAL = re.compile(r"(at least|at most) ([0-9.]+)(.*)")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--report", type=Path, help="Write the table of ratios into this file.")
    parser.addoption("--method-costs", type=Path, help="Write what a step of each costs into this file.")
    parser.addoption("--records", type=int, default=10_000, help="Of the folder that `bench table` reads.")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[ROWS] = []


@pytest.fixture(autouse=True)
def collected(request: pytest.FixtureRequest) -> Iterator[None]:
    """Keep what a benchmark says of itself."""
    benchmark = request.getfixturevalue("benchmark") if "benchmark" in request.fixturenames else None
    yield
    if benchmark and "ratio" in benchmark.extra_info:
        request.config.stash[ROWS].append(dict(benchmark.extra_info))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    rows = config.stash[ROWS]
    if not rows:
        return
    text = f"{hardware()}\n\n{table(rows)}"
    terminalreporter.write_sep("-", "ratios")
    terminalreporter.write_line(text)
    report = config.getoption("--report")
    if report and not any(row.get("tiny") for row in rows):
        page = report.read_text(encoding="utf-8")
        start, end = START.search(page), page.index(END)
        assert start is not None
        report.write_text(f"{page[: start.end()]}\n\n{text}\n\n{page[end:]}", encoding="utf-8")


def table(rows: list[dict[str, Any]]) -> str:
    """Return one line a benchmark."""
    lines = [
        (row["what"], f"{row['ratio']:.3g}{_unit(row)}", row.get("spread", ""), row.get("goal", ""), met(row))
        for row in rows
    ]
    headers = ("what", "found", "spread", "goal", "met")
    return tabulate(lines, headers, "github", disable_numparse=True)


def met(row: dict[str, Any]) -> str:
    """Tell whether a goal was met; nothing where there is none."""
    found = GOAL.fullmatch(row.get("goal", ""))
    if found is None:
        return ""
    limit = float(found[2])
    return "yes" if (row["ratio"] >= limit if found[1] == "at least" else row["ratio"] <= limit) else "**no**"


def hardware() -> str:
    """Return what this was measured on, in words, without the machine's name."""
    device = choose_device("auto")
    beside = f"; {describe_device(device)}" if device.type != "cpu" else ""
    return (
        f"{describe_device(torch.device('cpu'))}, of {os.cpu_count()} cores{beside}; "
        f"Python {platform.python_version()}, torch {torch.__version__}, {platform.system()}."
    )


def _unit(row: dict[str, Any]) -> str:
    found = GOAL.fullmatch(row.get("goal", ""))
    return found[3] if found else ""

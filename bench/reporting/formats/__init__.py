"""Write a finished table down: for a terminal, for GitHub, for a paper, for a page, for a script.

Every command imports this module, for it says which formats there are. Imports hookspecs and errors.
"""

from __future__ import annotations

from collections.abc import Iterator

from bench.hookspecs import Offer, hookimpl


@hookimpl
def bench_formats() -> Iterator[Offer]:
    """Offer the built-in formats."""
    yield Offer("github", ".text:GitHub", "Markdown, as GitHub shows it.", also=("markdown", "md"))
    yield Offer(
        "plain", ".text:Plain", "Aligned text for a terminal; the best has a star.", also=("text", "txt")
    )
    yield Offer("latex", ".latex:LaTeX", "A table with a caption, for booktabs and siunitx.", also=("tex",))
    yield Offer("html", ".html:HTML", "A page with one table.")
    yield Offer("html-fragment", ".html:Fragment", "A table to put into a page.")
    yield Offer("parquet", ".parquet:Parquet", "What csv has, with types; needs the extra parquet.")
    yield Offer(
        "xlsx",
        ".xlsx:XLSX",
        "A workbook: the table, and what csv has; needs the extra xlsx.",
        also=("excel",),
    )
    yield Offer("csv", ".tidy:CSV", "Comma-separated values, a row a cell, not rounded.", also=("tsv",))
    yield Offer("json", ".tidy:JSON", "A list of objects, one a cell, not rounded.")

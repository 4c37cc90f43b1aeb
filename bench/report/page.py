"""Put the report together: one page that needs nothing but itself."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from bench.report.costs import build_costs
from bench.report.curves import build_curves
from bench.report.figure import Figure
from bench.report.grid_table import build_grid
from bench.report.labels import build_labels
from bench.report.markup import escape, escape_json, write_prose, write_table
from bench.report.pictures import Pictures
from bench.report.predictions import build_predictions
from bench.report.provenance import build_provenance
from bench.report.ranks import build_ranks
from bench.report.results import Results, count_statuses, read_results
from bench.report.section import Section
from bench.report.series import Names
from bench.report.styles import Palette
from bench.reporting.table import build_table
from bench.storage.collector import paused_collector

# the browser runs no scripts but ours, asks nobody for anything, and sends nothing anywhere
POLICY = (
    "default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'"
)


def build_page(folders: Sequence[Path]) -> str:
    """Return the report of some results folders as HTML.

    Args:
        folders: each with records; artifacts, where they are there, give the training curves.

    Raises:
        UsageError: one of them has no records, or a newer bench wrote one.
    """
    results = read_results(folders)
    return write_page(results, list_sections(results))


@paused_collector()
def list_sections(results: Results, pictures: Pictures | None = None) -> list[Section]:
    """Return the sections of the report, in its order: what is added here is on the page.

    Args:
        results: what is reported.
        pictures: figures of its predictions, features and images; none are left out.
    """
    table = build_table(results.records, mix_protocols=True, folder=results.folders)
    names = Names(results, table, Palette())
    return [
        build_grid(results, table),
        *build_ranks(results),
        build_labels(results, table, names),
        build_costs(results, table, names),
        build_curves(results, names),
        *([build_predictions(pictures)] if pictures else []),
        build_provenance(results),
    ]


def write_page(results: Results, sections: Sequence[Section]) -> str:
    """Return sections as one page, with its styles and its script."""
    names = dict.fromkeys(("report.js", *(one.script for one in sections if one.script)))
    scripts = [_read_asset(name) for name in names]
    policy = POLICY.format(hashes=" ".join(map(_hash, scripts)))
    title = f"bench report: {', '.join(map(str, results.folders))}"
    links = "".join(f'<li><a href="#{one.name}">{escape(one.title)}</a></li>' for one in sections)
    summary = [f"{count_statuses(results.records)}."]
    if results.repeated_count:
        summary.append(f"{results.repeated_count} more are in an earlier folder, too, and counted there.")
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{escape(title)}</title>",
            f"<style>{_read_asset('report.css')}</style>",
            "</head>",
            "<body>",
            '<a class="skip" href="#main">Skip to the results</a>',
            f"<header><h1>{escape(title)}</h1><p>{escape(' '.join(summary))}</p>",
            f'<nav aria-label="Sections"><ul>{links}</ul></nav>',
            '<div id="settings-of-page"></div></header>',
            '<main id="main">',
            *map(write_section, sections),
            "</main>",
            *(f"<script>{script}</script>" for script in scripts),
            "</body>",
            "</html>",
            "",
        ]
    )


def write_section(section: Section) -> str:
    """Return a section as HTML."""
    notes = "".join(f"<p>{write_prose(note)}</p>" for note in section.notes if note)
    figures = "".join(write_figure(one, section.choices.get(one.name, {})) for one in section.figures)
    grid = f'<div class="choices"></div><div class="figures">{figures}</div>' if figures else ""
    return (
        f'<section id="{section.name}" aria-labelledby="{section.name}-title">'
        f'<h2 id="{section.name}-title">{escape(section.title)}</h2>{notes}{grid}{section.body}</section>'
    )


def write_figure(figure: Figure, choices: Mapping[str, str]) -> str:
    """Return a figure as HTML, with its numbers as a table below it.

    Args:
        figure: what is shown.
        choices: the values of the section's lists that it is shown for.
    """
    chosen = f' data-choices="{escape_json(choices)}"' if choices else ""
    title = escape(figure.title)
    numbers = write_table(figure.columns, figure.rows, f"Numbers of {figure.title}")
    return (
        f'<figure id="figure-{figure.name}"{chosen}>{figure.svg}'
        f"<figcaption><strong>{title}.</strong> {write_prose(figure.caption)}</figcaption>"
        f'<details><summary>Numbers<span class="far"> of {title}</span></summary>{numbers}</details>'
        "</figure>"
    )


def _hash(script: str) -> str:
    """Return what a policy knows a script by."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _read_asset(name: str) -> str:
    return files("bench.report").joinpath(name).read_text(encoding="utf-8")

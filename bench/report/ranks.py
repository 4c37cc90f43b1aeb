"""Rank the methods over data sets: a critical-difference diagram, profiles, and each pair's tests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.errors import BenchError
from bench.report.markup import escape, write_table
from bench.report.rank_figures import draw_ranking
from bench.report.results import Results
from bench.report.section import Section
from bench.reporting.blocks import gather_blocks
from bench.reporting.ranking import Ranking, rank_all
from bench.reporting.ranking_output import list_pairs
from bench.storage.data_names import name_data

REFERENCES = ("random", "supervised")  # a normalised score is 0 and 1 there
MOST_SHOWN = 4  # rankings; `bench ranking` prints them all
PAIR_COLUMNS = {
    "method": "method",
    "other": "other",
    "p": "Wilcoxon p",
    "p_holm": "by Holm",
    "improvement": "P(method is better)",
    "improvement_low": "95 % low",
    "improvement_high": "95 % high",
}


def build_ranks(results: Results) -> list[Section]:
    """Return the section of ranks over data sets; none where there is one data set."""
    records = results.records
    if len({evaluated for _, evaluated in name_data(records)}) < 2:
        return []
    try:
        blocks = gather_blocks(records, references=REFERENCES, folder=results.folders)
    except BenchError as error:  # protocols meet, or nothing has a direction
        return [Section("rankings", "Over data sets", (f"Not ranked: {error}",))]
    rankings, refusals = rank_all(blocks, REFERENCES)
    shown = rankings[:MOST_SHOWN]
    more = f"{len(rankings) - len(shown)} more are printed by `bench ranking`." if shown != rankings else ""
    notes = ("" if rankings else "Nothing can be ranked.", more)
    body = "".join((*map(_write_details, shown), _write_refusals(refusals)))
    return [Section("rankings", "Over data sets", notes, tuple(draw_ranking(shown)), body=body)]


def _write_details(ranking: Ranking) -> str:
    """Return what must be known of a ranking, and the tests of its pairs."""
    pairs = write_table(
        PAIR_COLUMNS.values(),
        ([row.get(name) for name in PAIR_COLUMNS] for row in list_pairs(ranking)),
        f"Pairs: {ranking.block.question}",
    )
    return _write_list(f"{remark}." for remark in ranking.remarks) + pairs


def _write_refusals(reasons: Sequence[str]) -> str:
    if not reasons:
        return ""
    summary = f"Not ranked, and why: {len(reasons)}"
    reasons = [f"{reason}." for reason in reasons]
    return f"<details><summary>{summary}</summary>{_write_list(reasons)}</details>"


def _write_list(texts: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(text)}</li>' for text in texts)}</ul>"

"""Write rankings: as text for people, as JSON and CSV for programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tabulate import tabulate

from bench.plain_text import join_lines, spell_out_field, spell_out_json
from bench.reporting.ranking import Ranking
from bench.statistics.aggregates import CONFIDENCE, Interval

COLUMNS = ("question", "kind", "method", "other", "average_rank", "iqm", "iqm_low", "iqm_high",
           "p", "p_holm", "improvement", "improvement_low", "improvement_high")  # fmt: skip
NONE = "–"


def write_text(rankings: Sequence[Ranking], refusals: Sequence[str]) -> str:
    """Return rankings as text, and why other questions have none."""
    paragraphs = [paragraph for ranking in rankings for paragraph in _describe(ranking)]
    if refusals:
        paragraphs.append("\n".join(f"Not ranked: {refusal}." for refusal in refusals))
    return "\n\n".join(paragraphs)


def write_json(rankings: Sequence[Ranking], refusals: Sequence[str]) -> str:
    """Return rankings as JSON, numbers unrounded."""
    content = {"rankings": [_to_json(ranking) for ranking in rankings], "not_ranked": list(refusals)}
    return spell_out_json(json.dumps(content, indent=1, ensure_ascii=False))


def write_csv(rankings: Sequence[Ranking], _refusals: Sequence[str]) -> str:
    """Return rankings as CSV: a row a method, then a row a pair, numbers unrounded."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for ranking in rankings:
        question = ranking.block.question
        for row in list_entrants(ranking):
            writer.writerow(_spell_out({"question": question, "kind": "method", **row}))
        for row in list_pairs(ranking):
            writer.writerow(_spell_out({"question": question, "kind": "pair", **row}))
    return out.getvalue().rstrip("\n")


def _spell_out(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: spell_out_field(value) for name, value in row.items()}


WRITERS: Mapping[str, Callable[[Sequence[Ranking], Sequence[str]], str]] = {
    "text": write_text, "json": write_json, "csv": write_csv,
}  # fmt: skip


def list_entrants(ranking: Ranking) -> Iterator[dict[str, Any]]:
    """Yield what is known of each entrant, the best ranked first."""
    for place, entrant in enumerate(ranking.entrants):
        row: dict[str, Any] = {"method": entrant.label, "average_rank": ranking.ranks[place]}
        if ranking.aggregates:
            aggregate = ranking.aggregates[place]
            row |= {"iqm": aggregate.mean, **_ends("iqm", aggregate.interval)}
        yield row


def list_pairs(ranking: Ranking) -> Iterator[dict[str, Any]]:
    """Yield what is known of each pair."""
    for pair in ranking.pairs:
        yield {
            "method": ranking.entrants[pair.better].label,
            "other": ranking.entrants[pair.worse].label,
            "p": pair.p,
            "p_holm": pair.adjusted,
            "improvement": pair.improvement,
            **_ends("improvement", pair.interval),
        }


def _ends(name: str, interval: Interval | None) -> dict[str, float]:
    return {f"{name}_low": float(interval.low), f"{name}_high": float(interval.high)} if interval else {}


def _to_json(ranking: Ranking) -> dict[str, Any]:
    test = ranking.friedman
    return {
        "question": ranking.block.question,
        "datasets": list(ranking.block.datasets),
        "higher_is_better": ranking.block.higher_is_better,
        "methods": list(list_entrants(ranking)),
        "friedman": {"statistic": test.statistic, "p": test.p} if test else None,
        "nemenyi_critical_difference": ranking.critical_difference,
        "pairs": list(list_pairs(ranking)),
        "normalised_on": list(ranking.scaled),
        "remarks": list(ranking.remarks),
    }


def _describe(ranking: Ranking) -> Iterator[str]:
    """Yield the paragraphs of a ranking."""
    block = ranking.block
    yield join_lines(
        f"{block.question}: {len(ranking.entrants)} methods on {len(block.datasets)} data sets "
        f"({', '.join(block.datasets)})"
    )
    percent = f"{100 * CONFIDENCE:g} %"
    rows = [
        [row["method"], f"{row['average_rank']:.2f}", _number(row, "iqm"), _interval(row, "iqm")]
        for row in list_entrants(ranking)
    ]
    yield _lay_out(("method", "average rank", "IQM", percent), rows)
    if ranking.friedman:
        chance = f"p {_p(ranking.friedman.p)} of {ranking.friedman.statistic:.2f}, among permutations"
        yield f"That any ranks otherwise than by chance (Friedman): {chance}."
    rows = [
        [f"{row['method']} : {row['other']}", _p(row["p"]), _p(row["p_holm"]), _number(row, "improvement"),
         _interval(row, "improvement")]
        for row in list_pairs(ranking)
    ]  # fmt: skip
    yield _lay_out(("pair", "Wilcoxon p", "by Holm", "P(first is better)", percent), rows)
    yield "\n".join(f"{join_lines(remark)}." for remark in ranking.remarks)


def _lay_out(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = [[join_lines(row[0]), *row[1:]] for row in rows]
    keep = [n for n in range(len(header)) if any(row[n] != NONE for row in cells)]  # no column of nothing
    picked = [[row[n] for n in keep] for row in cells]
    align = ["left", *["right"] * (len(keep) - 1)]
    return tabulate(picked, [header[n] for n in keep], "simple", colalign=align, disable_numparse=True)


def _number(row: Mapping[str, Any], name: str) -> str:
    return f"{row[name]:.2f}" if name in row else NONE


def _interval(row: Mapping[str, Any], name: str) -> str:
    return f"{row[f'{name}_low']:.2f} to {row[f'{name}_high']:.2f}" if f"{name}_low" in row else NONE


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"

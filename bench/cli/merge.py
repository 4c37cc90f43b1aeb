"""The command `bench merge`. What it needs is imported when it runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.left_out import tells_left_out
from bench.cli.supervisor import FAILED
from bench.storage.data_names import titles_of

if TYPE_CHECKING:
    from bench.storage.merging import Conflict, Merged

WORDS = {
    "copied": "copied",
    "same": "there already, with the same numbers",
    "replaced": "in place of one that had failed",
    "left": "failed, and here it did not",
    "conflicting": "with other numbers than here",
}


@click.command()
@click.argument("folders", nargs=-1, required=True, metavar="DIR…", type=click.Path(path_type=Path))
@click.option("--into", required=True, type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
              help="The results folder that has them all afterwards; it may have some already.")  # fmt: skip
@click.option("--records-only", is_flag=True,
              help="Leave backbones, features and predictions where they are: tables then know no more than "
                   "counts, and a later run makes again what it needs.")  # fmt: skip
@tells_left_out
def merge(folders: tuple[Path, ...], into: Path, records_only: bool) -> int:  # noqa: FBT001
    """Bring the results of several machines together in one folder.

    A record that is there already with the same numbers counts once. Where the numbers of one cell differ,
    the record that was there first stays, and the other is kept in a results folder below DIR/conflicts:
    the exit status is 1 then. Nothing in the folders that are merged is changed.

    \b
    bench merge node1/results node2/results --into results
    """  # noqa: D301
    from bench.storage.merging import merge as merge_folders

    merged = merge_folders(folders, into, artifacts=not records_only)
    click.echo("\n".join(describe(merged, into)))
    return FAILED if merged.conflicts or merged.damaged else 0


def describe(merged: Merged, into: Path) -> Iterator[str]:
    """Yield what was done, a line for all and one for each conflict and each artifact that was left."""
    records = [f"{merged.counts[name]} {words}" for name, words in WORDS.items() if merged.counts[name]]
    yield f"{into}: records {', '.join(records) or 'none'}; {merged.counts['artifacts']} artifacts copied"
    yield from map(describe_conflict, merged.conflicts)
    yield from (f"left: {line}" for line in merged.damaged)


def describe_conflict(conflict: Conflict) -> str:
    """Return which numbers of a cell differ, and where they are."""
    cell, (trained, evaluated) = conflict.here["cell"], titles_of(conflict.here)
    share = "" if cell.get("label_frac") is None else f" {cell['label_frac']:g}"
    share += f" {cell['shots']} a class" if cell.get("shots") is not None else ""
    on = [trained, evaluated] if cell.get("eval_dataset") else [trained]
    title = " ".join([cell["method"], cell["backbone"], *on, cell["evaluator"]])
    title = f"{title}{share} seed {cell.get('seed')}"
    theirs, headline = conflict.other["metrics"], conflict.here.get("headline") or "top1"
    differing = [
        f"{name} {metric['value']} here, {theirs[name]['value']} in {conflict.source}"
        for name, metric in sorted(conflict.here["metrics"].items(), key=lambda item: item[0] != headline)
        if name in theirs and theirs[name]["value"] != metric["value"]
    ]
    what = differing[0] if differing else f"other metrics than in {conflict.source}"
    return f"conflict: {title}: {what}; that one is kept in {conflict.kept_in}"

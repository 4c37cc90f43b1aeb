"""The command `bench compare`. What it needs is imported when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bench.cli.app import Session, session
from bench.cli.completion import complete_metrics, complete_rows
from bench.cli.left_out import tells_left_out
from bench.cli.options import results_option


@click.command()
@click.argument("one", metavar="A", shell_complete=complete_rows)
@click.argument("other", metavar="B", shell_complete=complete_rows)
@results_option
@click.option("--metric", metavar="NAME,…", shell_complete=complete_metrics,
              help="What is compared.  [default: as of `bench table`]")  # fmt: skip
@click.option("--most", type=click.IntRange(min=0), default=5, show_default=True, metavar="N",
              help="How many images are named that one of the two alone gets right.")  # fmt: skip
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True,
              help="For a person or for a script.")  # fmt: skip
@session
@tells_left_out
def compare(session: Session, /, results: Path, form: str, **options: Any) -> None:
    """Compare two rows of the table: how far apart, how surely, where they differ, what would settle it.

    A and B are named as in the table, by labels with slashes between or by axes.

    \b
    bench compare simclr vicreg
    bench compare simclr/resnet18 simclr/resnet50
    bench compare method=simclr,label_frac=0.1 method=simclr,label_frac=1
    """  # noqa: D301
    from bench.reporting.compared_rows import compare_rows
    from bench.reporting.comparison_texts import write_json, write_text
    from bench.storage.records import RecordStore

    write = write_json if form == "json" else write_text
    session.echo(write(compare_rows(RecordStore(results).records(), folder=results, **options)))

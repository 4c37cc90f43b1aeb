"""The commands `bench table` and `bench status`. What a command needs is imported when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bench.boundary import Contained
from bench.cli.app import Session, session
from bench.cli.options import results_option
from bench.errors import UsageError


@click.command()
@results_option
@click.option("--rows", metavar="AXIS,…", help="Axes of the rows.  [default: method,backbone]")
@click.option("--cols", metavar="AXIS,…",
              help="Axes of the columns.  [default: dataset,evaluator,label_frac]")  # fmt: skip
@click.option("--metric", metavar="NAME,…",
              help="What the cells show.  [default: top1, or an evaluator's first]")  # fmt: skip
@click.option("--uncertainty", default="auto", show_default=True, metavar="WHAT",
              help="Beside the mean: std over seeds, the 95 % interval, both or none; "
                   "auto is std, and the interval where there is one seed.")  # fmt: skip
@click.option("--mix-protocols", is_flag=True,
              help="Let a column have scores of two protocols, such as frozen and fine-tuned.")  # fmt: skip
@click.option("--format", default="github", show_default=True, metavar="NAME",
              help="github, plain, csv, json, latex, html or a plugin's.")  # fmt: skip
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to a file.")
@session
def table(session: Session, /, results: Path, output: Path | None, **options: Any) -> None:
    """Print the records as a table, averaged over seeds.

    AXIS is method, backbone, dataset, eval_dataset, evaluator, label_frac, seed, metric or a setting.

    \b
    bench table --metric top1,balanced_accuracy
    bench table --rows method --cols label_frac --format latex --output table.tex
    """  # noqa: D301
    from bench.reporting.table import table as format_table
    from bench.storage.records import RecordStore

    name = options["format"]
    options["format"] = Contained(session.registry.load_class("formats", name), name)()
    text = format_table(RecordStore(results).records(), folder=results, **options)
    if output is None:
        session.echo(text)
        return
    try:
        output.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--output: {output} cannot be written ({error.strerror}).") from None


@click.command()
@results_option
def status(results: Path) -> None:
    """Show what runs, what is done, what failed and why, and how much room it takes."""
    from bench.reporting.status import describe_status
    from bench.storage.records import RecordStore

    click.echo(describe_status(RecordStore(results).records(), folder=results))

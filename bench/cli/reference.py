"""The command `bench reference`. What it needs is imported when it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from bench.cli.app import Session, session
from bench.cli.options import axis, split_names

if TYPE_CHECKING:
    from bench.published.results import PublishedResult


@click.command()
@axis("--method", metavar="NAME", text="Of this method, by bench's name or as it is published.")
@axis("--dataset", metavar="NAME", text="On this data set.")
@axis("--backbone", metavar="NAME", text="With this backbone, or a part of its name.")
@axis("--evaluator", metavar="NAME", text="Measured by this, or a part of it: linear, knn, online, finetune.")
@click.option("--format", "form", type=click.Choice(["text", "csv", "json"]), default="text",
              show_default=True, help="How the results are written.")  # fmt: skip
@session
def reference(session: Session, /, form: str, **names: tuple[str, ...]) -> None:
    """Show what others have published, with its source and protocol.

    \b
    bench reference --dataset cifar10 --method simclr
    bench reference --dataset cifar10,cifar100 --evaluator linear --format csv
    """  # noqa: D301
    from bench.published.search import format_results, search

    wanted = {axis: split_names(values, f"--{axis}") for axis, values in names.items()}
    session.echo(format_results(search(load_results(session), wanted), form))


def load_results(session: Session) -> tuple[PublishedResult, ...]:
    """Return all published results; what is wrong with those of a plugin is told on standard error."""
    from bench.hookspecs import PUBLISHED

    results = session.registry.published()
    for failure in session.registry.failures:
        if failure.phase == PUBLISHED:
            click.echo(f"{failure.plugin.id}: {failure.phase}: {failure.error}", err=True)
    return results

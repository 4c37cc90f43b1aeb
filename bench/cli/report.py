"""The command `bench report`. What it needs is imported when it runs."""

from __future__ import annotations

from pathlib import Path

import click

from bench.errors import UsageError


@click.command()
@click.option("--results", "folders", multiple=True, type=click.Path(path_type=Path),
              default=(Path("results"),), metavar="DIR",
              help="Where records are; may be repeated.  [default: results]")  # fmt: skip
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), default=Path("report.html"),
              show_default=True, metavar="FILE", help="Where the page is written.")  # fmt: skip
def report(folders: tuple[Path, ...], output: Path) -> None:
    """Write results as one page to look at: table, curves, costs, and how they were made.

    It needs no network and no other file. Training curves are those of the artifacts that are there.

    \b
    bench report
    bench report --results results/cifar10 --results results/mnist -o both.html
    """  # noqa: D301
    from bench.report.page import build_page

    page = build_page(folders)
    try:
        output.write_text(page, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--output: {output} cannot be written ({error.strerror}).") from None
    click.echo(f"{output}: {len(page.encode()) / 1000:,.0f} kB")

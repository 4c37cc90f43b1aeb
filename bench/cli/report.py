"""The command `bench report`. What it needs is imported when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bench.cli.app import Session, session
from bench.cli.completion import complete_folders, complete_words
from bench.cli.left_out import tells_left_out
from bench.errors import BadValue, UsageError


@click.command()
@click.option("--results", "folders", multiple=True, type=click.Path(path_type=Path),
              default=(Path("results"),), metavar="DIR", shell_complete=complete_folders,
              help="Where records are; may be repeated.  [default: results]")  # fmt: skip
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), default=Path("report.html"),
              show_default=True, metavar="FILE", help="Where the page is written.")  # fmt: skip
@click.option("--maps", type=int, default=0, show_default=True, metavar="N",
              help="Map the features of N test images, 30 to 5000; a thousand take some seconds a "
                   "method.")  # fmt: skip
@click.option("--map", "map_kind", default="tsne", show_default=True, metavar="KIND",
              shell_complete=complete_words("tsne", "umap", "pacmap", "opentsne"),
              help="tsne, umap, pacmap or opentsne.")  # fmt: skip
@click.option("--root", "roots", multiple=True, metavar="DATASET=DIR", shell_complete=complete_folders,
              help="Where the images of a data set are that lies in a folder; may be repeated.")  # fmt: skip
@click.option("--data-dir", type=click.Path(path_type=Path), default=Path("data"), show_default=True,
              metavar="DIR", shell_complete=complete_folders, help="Where downloaded data is.")  # fmt: skip
@click.option("--figures", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
              help="Write each figure as SVG, PNG and CSV, too.")  # fmt: skip
@session
@tells_left_out
def report(session: Session, /, folders: tuple[Path, ...], output: Path, **options: Any) -> None:
    """Write results as one page to look at: table, curves, costs, and how they were made.

    It needs no network and no other file. What is drawn of artifacts and images is what is there of them.

    \b
    bench report
    bench report --results results/cifar10 --results results/mnist -o both.html
    bench report --maps 1000 --root image_folder=photos --figures paper
    """  # noqa: D301
    from bench.report.export import check_export, write_figures
    from bench.report.page import list_sections, write_page
    from bench.report.pictures import Wanted, draw_pictures
    from bench.report.results import read_results
    from bench.report.stored import image_loader

    if options["figures"]:
        check_export()
    wanted = Wanted(map_points=options["maps"], map_kind=options["map_kind"])
    load = image_loader(session.registry, _read_roots(options["roots"]), options["data_dir"])
    results = read_results(folders)
    pictures = draw_pictures(results.records, results.folders, load, wanted)
    sections = list_sections(results, pictures)
    page = write_page(results, sections)
    try:
        output.write_text(page, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--output: {output} cannot be written ({error.strerror}).") from None
    session.echo(f"{output}: {len(page.encode()) / 1000:,.0f} kB")
    if options["figures"]:
        drawn = [figure for section in sections for figure in section.figures]
        figures = {figure.name: figure for figure in (*drawn, *pictures.figures)}  # also those without room
        session.echo(
            f"{options['figures']}: {len(write_figures(tuple(figures.values()), options['figures']))} files"
        )


def _read_roots(values: tuple[str, ...]) -> dict[str, Path]:
    pairs = [value.partition("=") for value in values]
    for value, (name, _, folder) in zip(values, pairs, strict=True):
        if not name or not folder:
            raise BadValue(f"--root: {value!r} is not DATASET=DIR. Write it like image_folder=photos.")
    return {name: Path(folder).expanduser() for name, _, folder in pairs}

"""The commands `bench table` and `bench status`. What a command needs is imported when it runs."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from bench.boundary import Contained
from bench.bounds import MOST_DECIMALS
from bench.cli.app import Session, session
from bench.cli.completion import (
    complete_axes,
    complete_conditions,
    complete_folders,
    complete_metrics,
    complete_names,
    complete_words,
)
from bench.cli.left_out import tells_left_out
from bench.cli.options import axis, results_option, say_repeated
from bench.cli.reference import load_results
from bench.errors import BadValue, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.reporting.export import TableRequest
    from bench.reporting.formats.base import TableFormat

WITH_FROM = ("sidecar", "output", "results")  # options that may stand beside --from


@click.command()
@click.option("--results", type=click.Path(path_type=Path), multiple=True, default=(Path("results"),),
              metavar="DIR", shell_complete=complete_folders,
              help="Where the records are; several are taken together.  [default: results]")  # fmt: skip
@axis(
    "--where",
    metavar="AXIS=VALUE|…",
    text="Only records with one of these values on this axis.",
    complete=complete_conditions,
)
@click.option(
    "--rows",
    metavar="AXIS,…",
    shell_complete=complete_axes,
    help="Axes of the rows.  [default: method,backbone]",
)
@click.option("--cols", metavar="AXIS,…", shell_complete=complete_axes,
              help="Axes of the columns.  [default: dataset,evaluator,label_frac]")  # fmt: skip
@click.option("--transpose", is_flag=True, help="Exchange rows and columns in the end.")
@click.option("--sort", default="", metavar="COLUMN|name", help="Put the rows in this order, the best first.")
@click.option("--metric", metavar="NAME,…", shell_complete=complete_metrics,
              help="What the cells show.  [default: top1, or an evaluator's first]")  # fmt: skip
@click.option("--uncertainty", default="auto", show_default=True, metavar="WHAT",
              shell_complete=complete_words("auto", "std", "interval", "both", "none"),
              help="Beside the mean: std over seeds, the 95 % interval, both or none; "
                   "auto is std, and the interval where there is one seed.")  # fmt: skip
@click.option(
    "--digits", type=click.IntRange(0, MOST_DECIMALS), help="Decimals.  [default: 2 of percents, else 4]"
)
@axis("--name", metavar="NAME=NEW,…", text="What stands in the table for a name: simclr=SimCLR.")
@click.option("--names", "names_file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="A YAML file with such names in a block `names:`.")  # fmt: skip
@click.option("--reference", is_flag=True, help="Put the nearest published result beside ours.")
@click.option("--mix-protocols", is_flag=True,
              help="Let a column have scores of two protocols, such as frozen and fine-tuned.")  # fmt: skip
@click.option("--format", default="github", show_default=True, metavar="NAME", shell_complete=complete_names,
              help="github, plain, csv, json, latex, html, html-fragment, parquet, xlsx or a "
                   "plugin's.")  # fmt: skip
@click.option("--label", default="", metavar="NAME", help="LaTeX's label, the anchor of a page.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path),
              help="Write to a file, and beside it which records it is of.")  # fmt: skip
@click.option("--from", "sidecar", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Make a table again that was written, from FILE.keys.json beside it.")  # fmt: skip
@session
@tells_left_out
@click.pass_context
def table(ctx: click.Context, session: Session, /, **options: Any) -> None:
    """Print the records as a table, averaged over seeds.

    AXIS is method, backbone, dataset, eval_dataset, evaluator, label_frac, seed, metric, folder or a setting.

    \b
    bench table --metric top1,balanced_accuracy
    bench table --rows method --cols label_frac --format latex --output table.tex
    bench table --where 'method=simclr|vicreg,label_frac=0.1' --sort linear --name simclr=SimCLR
    bench table --from table.tex.keys.json
    """  # noqa: D301
    output: Path | None = options.pop("output")
    sidecar: Path | None = options.pop("sidecar")
    results: Sequence[Path] = options.pop("results")
    if sidecar is None:
        _make(session, results, output, options)
        return
    given = [name for name in ctx.params if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    for name in given:
        if name not in WITH_FROM:
            option = {"names_file": "names"}.get(name, name.replace("_", "-"))
            raise UsageError(f"--{option}: {sidecar} says what the table is. Leave it out beside --from.")
    _make_again(session, sidecar, results if "results" in given else None, output)


def _make(session: Session, results: Sequence[Path], output: Path | None, options: dict[str, Any]) -> None:
    """Print or write a table as it is asked for."""
    from bench.reporting.export import TableRequest, make_sidecar, read_selected, to_bytes, write_table
    from bench.reporting.naming import merge_names, parse_names, read_names
    from bench.reporting.selection import parse_conditions

    for name in ("rows", "cols", "metric"):
        say_repeated(f"--{name}", [part.strip() for part in (options[name] or "").split(",")])
    say_repeated("--results", [str(folder.resolve()) for folder in results])
    conditions = parse_conditions(options.pop("where"))
    own, file = parse_names(options.pop("name")), options.pop("names_file")
    names = merge_names(read_names(file), own) if file else own
    request = TableRequest(**options, names=names)
    form = _load_format(session, request.format, output)
    found, records = read_selected(results, conditions, as_axis=request.asks_for_folders)
    content = _render(session, records, request, form, found.folders, tuple(own))
    if output is None:
        session.echo(content)
        return
    written = to_bytes(content)
    write_table(output, written, make_sidecar(request, found, records, written, version("ssl-bench")))


def _make_again(session: Session, path: Path, results: Sequence[Path] | None, output: Path | None) -> None:
    """Print or write the table of a sidecar."""
    from bench.reporting.export import request_of, to_bytes, write_table
    from bench.reporting.sidecar import find_records, read_sidecar, refuse_difference

    sidecar = read_sidecar(path)
    request = request_of(sidecar, path)
    folders = list(results or map(Path, sidecar.folders))
    form = _load_format(session, request.format, output)
    content = _render(session, find_records(path, sidecar, folders), request, form, folders, ())
    refuse_difference(path, sidecar, to_bytes(content), version("ssl-bench"))
    if output is None:
        session.echo(content)
    else:
        write_table(output, to_bytes(content), sidecar)


def _load_format(session: Session, name: str, output: Path | None) -> type[TableFormat]:
    """Return the class of a format; one that is no text needs a file."""
    from bench.reporting.formats.base import BinaryFormat

    cls: type[TableFormat] = session.registry.load_class("formats", name)
    if issubclass(cls, BinaryFormat) and output is None:
        raise BadValue(f"--format {name}: it is a file and no text. Use --output FILE.")
    return cls


def _render(
    session: Session,
    records: Sequence[Any],
    request: TableRequest,
    form: type[TableFormat],
    folders: Sequence[Path],
    required: tuple[str, ...],
) -> str | bytes:
    """Return a table as its format writes it."""
    from bench.reporting.export import make_content
    from bench.reporting.formats.base import BinaryFormat

    return make_content(
        records,
        request,
        Contained(form, request.format)(),
        folders,
        is_binary=issubclass(form, BinaryFormat),
        published=load_results(session) if request.reference else (),
        required=required,
    )


@click.command()
@results_option
@session
@tells_left_out
def status(session: Session, /, results: Path) -> None:
    """Show what runs, waits and is done, what failed and why, and how much room it takes."""
    from bench.reporting.status import describe_status
    from bench.storage.records import RecordStore

    records = list(RecordStore(results).records())
    queues = _describe_queues(session, results, records)
    if records or not queues:
        queues = "\n\n".join(filter(None, [describe_status(records, folder=results), queues]))
    session.echo(queues)


def _describe_queues(session: Session, results: Path, records: Sequence[Any]) -> str:
    """Return what became of the cells that were submitted, or nothing where none were."""
    from bench.execution.queues import describe_queues
    from bench.storage.presence import is_folder
    from bench.storage.submissions import FOLDER

    if not is_folder(results / FOLDER):
        return ""
    try:
        return describe_queues(results, records, session.registry)
    except UsageError as error:
        return f"submitted cells: the queue cannot be asked. {error}"

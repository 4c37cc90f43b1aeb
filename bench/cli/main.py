"""The command line: parse, call, print. What a command needs is imported when it runs."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import click

from bench.cli.app import Session, Shell, session
from bench.cli.plugins import plugins
from bench.errors import UsageError

NO = "no:"  # of `-p no:NAME`, as pytest has it

F = TypeVar("F", bound=Callable[..., Any])


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:  # noqa: FBT001
    if wanted and not ctx.resilient_parsing:
        parts = ", ".join(f"{name} {version(name)}" for name in ("torch", "timm"))
        click.echo(f"bench {version('ssl-bench')} (Python {platform.python_version()}, {parts})")
        ctx.exit()


def _disabled(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if not value.startswith(NO) or value == NO:
            raise click.BadParameter(f"{value!r} is not no:NAME.")
    return tuple(value.removeprefix(NO) for value in values)


@click.group(cls=Shell, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-p", "disabled", multiple=True, metavar="no:NAME", callback=_disabled,
              help="Do not import the plugin NAME: an entry point, a distribution or dist:entry. "
                   "BENCH_DISABLE=NAME,NAME does the same.")  # fmt: skip
@click.option("--traceback", is_flag=True, help="Show where an error was raised.")
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version,
              help="Show the versions of bench, Python, torch and timm.")  # fmt: skip
@click.pass_context
def main(ctx: click.Context, disabled: tuple[str, ...], traceback: bool) -> None:  # noqa: FBT001
    """Benchmark self-supervised learning on images.

    \b
    bench run                   SimCLR and a tiny ResNet on scikit-learn's digits: needs no download
    bench table                 the records as a table
    bench list                  what there is to run
    bench show method simclr    its settings, where their defaults are from, its recipe
    """  # noqa: D301
    listed = os.environ.get("BENCH_DISABLE", "").split(",")
    ctx.obj = Session(disabled, tuple(name.strip() for name in listed if name.strip()))
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def _axis(*names: str, metavar: str, text: str) -> Callable[[F], F]:
    return click.option(*names, multiple=True, metavar=metavar, help=text)


@main.command()
@click.argument("grid", required=False, type=click.Path(path_type=Path))
@_axis("--method", metavar="NAME,…", text="SSL methods and baselines.  [default: simclr]")
@_axis("--backbone", metavar="NAME,…", text="Networks, by timm's names.  [default: test_resnet]")
@_axis("--dataset", metavar="NAME,…", text="What to train on.  [default: digits]")
@_axis("--eval", metavar="NAME,…", text="Evaluators.  [default: linear]")
@_axis("--label-frac", metavar="F,…", text="Shares of the labels, in (0, 1].  [default: 1]")
@_axis("--eval-dataset", metavar="NAME,…", text="What to evaluate on, if not what was trained on.")
@_axis("--seed", metavar="N,…", text="Of training and evaluation; a table averages over them.  [default: 0]")
@_axis("--epochs", metavar="N,…", text="Short for --set train.epochs=N.  [default: 100]")
@_axis("--batch-size", metavar="N,…", text="Short for --set train.batch_size=N.  [default: 256]")
@_axis("--image-size", metavar="N,…", text="Short for --set train.image_size=N.  [default: the data's]")
@_axis("--precision", metavar="NAME,…", text="Of training: auto, float32, bfloat16 or float16.")
@click.option("--set", "set_", multiple=True, metavar="PART.FIELD=VALUE,…",
              help="Any setting. PART is method, backbone, dataset, eval_dataset, train, views or a plugin's "
                   "name; `bench show` lists the fields. More values are an axis.")  # fmt: skip
@click.option("--data-dir", metavar="DIR", help="Where downloads are kept.  [default: data]")
@click.option("--results", metavar="DIR", help="Where records and artifacts go.  [default: results]")
@click.option("--device", metavar="NAME", help="auto, cpu, cuda, cuda:N or mps.  [default: auto]")
@click.option("--jobs", metavar="N", help="Processes.  [default: 1]")
@click.option("--executor", metavar="NAME",
              help="How cells are shared out: a name of `bench list executors`.  [default: processes where "
                   "there are several --jobs, else in-process]")  # fmt: skip
@click.option("--download/--no-download", default=None, help="Download data that is missing.")
@click.option("--packed/--no-packed", default=None,
              help="Keep the decoded images of a folder in a file, for later runs, even where they fit into "
                   "memory.")  # fmt: skip
@click.option("--profile/--no-profile", default=None,
              help="Say where the time goes, and write traces: of ten steps of each training, and of the "
                   "first 2 s of each backbone's features and of each evaluator.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Say what would be made and how long it takes; make nothing.")
@session
def run(session: Session, /, grid: Path | None, dry_run: bool, **options: Any) -> int:  # noqa: FBT001
    """Pretrain, freeze, evaluate, and print the table.

    Every option with a list is an axis of the grid. GRID is a YAML file with the same names (method,
    label_frac, set, …); options go before what it says. What was made before is not made again.

    \b
    bench run
    bench run --method simclr,vicreg,supervised,random --eval linear,knn --label-frac 0.01,0.1,1
    bench run --dataset image_folder --set dataset.root=photos --backbone resnet50 --seed 0,1,2
    bench run --set method.temperature=0.1,0.5 --epochs 200 --dry-run

    The exit status is 1 if a cell failed and 2 if something asked for cannot be done.
    """  # noqa: D301
    from bench.planning.options import merge_options

    options["set"] = options.pop("set_")
    everything = merge_options(grid, options)
    from bench.cli.run_grid import run as run_grid

    ask = sys.stdin.isatty() and sys.stderr.isatty()
    return run_grid(everything, session.registry, blocked=session.blocked, dry_run=dry_run, ask=ask)


_results = click.option("--results", type=click.Path(path_type=Path), default=Path("results"), metavar="DIR",
                        show_default=True, help="Where the records are.")  # fmt: skip


@main.command()
@_results
@click.option("--rows", metavar="AXIS,…", help="Axes of the rows.  [default: method,backbone]")
@click.option("--cols", metavar="AXIS,…",
              help="Axes of the columns.  [default: dataset,evaluator,label_frac]")  # fmt: skip
@click.option("--metric", metavar="NAME,…",
              help="What the cells show.  [default: top1, or an evaluator's first]")  # fmt: skip
@click.option("--mix-protocols", is_flag=True,
              help="Let a column have scores of two protocols, such as frozen and fine-tuned.")  # fmt: skip
@click.option("--format", default="github", show_default=True, metavar="NAME",
              help="github, plain, csv, json, latex or html.")  # fmt: skip
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to a file.")
def table(results: Path, output: Path | None, **options: Any) -> None:
    """Print the records as a table, averaged over seeds.

    AXIS is method, backbone, dataset, eval_dataset, evaluator, label_frac, seed, metric or a setting.

    \b
    bench table --metric top1,balanced_accuracy
    bench table --rows method --cols label_frac --format latex --output table.tex
    """  # noqa: D301
    from bench.reporting.table import table as laid_out
    from bench.storage.records import RecordStore

    text = laid_out(RecordStore(results).records(), folder=results, **options)
    if output is None:
        click.echo(text)
        return
    try:
        output.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--output: {output} cannot be written ({error.strerror}).") from None


@main.command()
@_results
def status(results: Path) -> None:
    """Show what is done, what failed and why, and how much room it takes."""
    from bench.reporting.status import status as described
    from bench.storage.records import RecordStore

    click.echo(described(RecordStore(results).records(), folder=results))


@main.command("list")
@click.argument("what", metavar="[KIND]", required=False)
@click.argument("pattern", required=False)
@session
def list_(session: Session, what: str | None, pattern: str | None) -> None:
    """List methods, backbones, datasets, evaluators, executors and formats.

    KIND is one of these. PATTERN is a glob or a part of a name; a family of backbones is listed
    name by name where a pattern is given.

    \b
    bench list
    bench list methods
    bench list backbones 'resnet*'
    bench list cifar
    """  # noqa: D301
    from bench.inspection.plugins import kind_or_pattern, list_plugins

    kind, pattern = kind_or_pattern(what, pattern)
    click.echo(list_plugins(session.registry, kind, pattern))
    broken = {failure.plugin.id for failure in session.registry.failures}
    if broken:
        click.echo(f"Failed to load: {', '.join(sorted(broken))}. See `bench plugins doctor`.", err=True)


def _of_views(command: F) -> F:
    """Add the options that say which views are meant."""
    options = (
        _axis("--dataset", metavar="NAME", text="What the views are of.  [default: digits]"),
        _axis("--image-size", metavar="N", text="Side of a view.  [default: the data's]"),
        click.option("--set", "set_", multiple=True, metavar="PART.FIELD=VALUE", help="As of `bench run`."),
        click.option("--data-dir", metavar="DIR", help="Where downloads are kept.  [default: data]"),
    )
    for option in reversed(options):
        command = option(command)
    return command


@main.command()
@click.argument("kind")
@click.argument("name")
@_of_views
@session
def show(session: Session, /, kind: str, name: str, **options: Any) -> None:
    """Show one plugin: its settings with defaults and sources, its recipe, its reference.

    `bench show views METHOD` shows what is done to an image before the method sees it. The options are
    for that only.

    \b
    bench show method simclr
    bench show backbone resnet18
    bench show evaluator knn
    bench show views simclr --dataset cifar10 --set views.blur=0.5
    """  # noqa: D301
    options["set"] = options.pop("set_")
    if kind.lower() in ("view", "views"):
        from bench.inspection.views import show_views

        click.echo(show_views(session.registry, name, options))
        return
    from bench.inspection.plugins import find_kind, show

    for option in (option for option, value in options.items() if value):
        raise UsageError(f"--{option.replace('_', '-')}: it is for `bench show views METHOD`. Leave it out.")
    click.echo(show(session.registry, find_kind(kind), name))


@main.command()
@_axis("--method", metavar="NAME", text="Whose views.  [default: simclr]")
@_of_views
@click.option("--count", type=click.IntRange(1, 200), default=8, show_default=True, help="Images.")
@click.option("--draws", type=click.IntRange(1, 20), default=4, show_default=True, help="Of each view.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True,
              help="Of the images and the draws.")  # fmt: skip
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), default=Path("preview.png"),
              show_default=True, help="The picture.")  # fmt: skip
@click.option("--download/--no-download", default=None, help="Download data that is missing.")
@session
def preview(session: Session, /, count: int, draws: int, seed: int, output: Path, **options: Any) -> None:
    """Draw training images and their views, as a method sees them.

    \b
    bench preview
    bench preview --method vicreg --dataset cifar10 --set views.blur=0.5 --output blurred.png
    bench preview --dataset image_folder --set dataset.root=photos --image-size 96
    """  # noqa: D301
    options["set"] = options.pop("set_")
    from bench.inspection.preview import Sheet, write

    write(session.registry, options, Sheet(count=count, draws=draws, seed=seed), output)
    click.echo(output)


main.add_command(plugins)

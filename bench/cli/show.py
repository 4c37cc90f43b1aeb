"""The commands that look before anything is trained: `bench list`, `bench show` and `bench preview`.

What a command needs is imported when it runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bench.cli.app import Session, session
from bench.cli.completion import complete_kinds, complete_names
from bench.cli.options import axis, view_options
from bench.errors import UsageError


@click.command("list")
@click.argument("what", metavar="[KIND]", required=False, shell_complete=complete_kinds)
@click.argument("pattern", required=False)
@session
def list_(session: Session, what: str | None, pattern: str | None) -> None:
    """List plugins by kind.

    KIND is methods, backbones, datasets, evaluators, executors, formats or loggers. PATTERN is a glob or a
    part of a name; a family of backbones is listed name by name where a pattern is given.

    \b
    bench list
    bench list methods
    bench list backbones 'resnet*'
    bench list cifar
    """  # noqa: D301
    from bench.inspection.plugins import kind_or_pattern, list_plugins

    kind, pattern = kind_or_pattern(what, pattern)
    session.echo(list_plugins(session.registry, kind, pattern))
    session.say_failures()


@click.command()
@click.argument("kind", shell_complete=complete_kinds)
@click.argument("name", required=False, shell_complete=complete_names)
@view_options
@session
def show(session: Session, /, kind: str, name: str | None, **options: Any) -> None:
    """Show one plugin: its settings with defaults and sources, its recipe, its reference.

    `bench show train` and `bench show views` show what can be set of every training, and of its views.
    `bench show views METHOD` shows what is done to an image before the method sees it; the options are for
    that only.

    \b
    bench show method simclr
    bench show backbone resnet18
    bench show evaluator knn
    bench show train
    bench show views simclr --dataset cifar10 --set views.blur=0.5
    """  # noqa: D301
    options["set"] = options.pop("set_")
    if name is not None and kind.lower() in ("view", "views"):
        from bench.inspection.views import show_views

        session.echo(show_views(session.registry, name, options))
        return
    from bench.inspection.plugins import show_any

    for option in (option for option, value in options.items() if value):
        raise UsageError(f"--{option.replace('_', '-')}: it is for `bench show views METHOD`. Leave it out.")
    session.echo(show_any(session.registry, kind, name))


@click.command()
@axis("--method", metavar="NAME", text="Whose views.  [default: simclr]")
@view_options
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
    from bench.planning.checks import refuse_early
    from bench.planning.options import merge_options

    refuse_early(merge_options(None, options), session.registry)  # before torch is imported
    from bench.inspection.preview import Sheet, write

    write(session.registry, options, Sheet(count=count, draws=draws, seed=seed), output)
    session.echo(output)

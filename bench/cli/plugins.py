"""The commands of `bench plugins`. What a command needs is imported when it runs."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.app import Commands, Session, session
from bench.cli.supervisor import FAILED


@click.group(cls=Commands, invoke_without_command=True)
@click.pass_context
def plugins(ctx: click.Context) -> None:
    """List, diagnose, check and start plugins."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(plugins_list)


@plugins.command("list")
@session
def plugins_list(session: Session) -> None:
    """List every plugin that is installed, what it offers and what is wrong with it."""
    from bench.inspection.plugins import list_entry_points

    session.echo(list_entry_points(session.registry))


@plugins.command()
@session
def doctor(session: Session) -> int:
    """Show why plugins failed, with tracebacks. The exit status is 1 if one did."""
    from bench.inspection.plugins import diagnose_failures

    session.echo(diagnose_failures(session.registry))
    return FAILED if session.registry.failures else 0


@plugins.command()
@click.argument("name")
@session
def check(session: Session, name: str) -> int:
    """Run the conformance kit on one plugin. The exit status is 1 if a check failed.

    \b
    bench plugins check simclr
    bench plugins check resnet18
    """  # noqa: D301
    session.registry.find_anywhere(name)  # refused before torch is imported
    from bench.testing import check_named

    failed = False
    for title, error in check_named(session.registry, name):
        session.echo(f"ok      {title}" if error is None else f"FAILED  {title}: {error}")
        failed = failed or error is not None
    return FAILED if failed else 0


@plugins.command()
@click.argument("name")
@click.option("--kind", default="method", show_default=True, help="What it adds: method, backbone, dataset, "
              "evaluator, executor, format or observer.")  # fmt: skip
@click.option("--like", help="Of a method: start from the parts of byol (momentum network), moco (queue), "
              "swav (prototypes, crops of two sizes) or mae (tokens, masks).")  # fmt: skip
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), default=Path(),
              help="Make it in this folder.  [default: the current one]")  # fmt: skip
@session
def new(session: Session, name: str, kind: str, like: str | None, output: Path) -> None:
    """Start a distribution that adds one plugin, ready for `pip install -e`.

    \b
    bench plugins new alignment --kind method
    pip install -e bench-alignment
    bench plugins check alignment
    """  # noqa: D301
    from bench.registry.scaffold import find_start, write

    folder = write(name, find_start(kind), output, session.registry, like)
    session.echo(f"Made {folder}. Its README.md says what to do next: install it, test it, run it.")

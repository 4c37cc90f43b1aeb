"""The command `bench`: the options before a command, and the commands."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version

import click

from bench.cli.app import Session, Shell
from bench.cli.cancel import cancel
from bench.cli.compare import compare
from bench.cli.completion import completion
from bench.cli.export import export
from bench.cli.merge import merge
from bench.cli.plugins import plugins
from bench.cli.ranking import ranking
from bench.cli.reference import reference
from bench.cli.report import report
from bench.cli.run import run
from bench.cli.show import list_, preview, show
from bench.cli.table import status, table
from bench.cli.upkeep import gc, rm, upgrade, verify
from bench.cli.watch import watch
from bench.cli.worker import worker

LOAD_TIMEOUT = "BENCH_LOAD_TIMEOUT"  # in the environment
NO = "no:"  # of `-p no:NAME`, as pytest has it


def print_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001
    """Print the versions and exit, where `--version` was given."""
    if value and not ctx.resilient_parsing:
        parts = ", ".join(f"{name} {version(name)}" for name in ("torch", "timm"))
        click.echo(f"bench {version('ssl-bench')} (Python {platform.python_version()}, {parts})")
        ctx.exit()


def read_disabled(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of plugins that `-p no:NAME` disables.

    Raises:
        BadParameter: click's; a value does not start with `no:`.
    """
    for value in values:
        if not value.startswith(NO) or value == NO:
            raise click.BadParameter(f"{value!r} is not no:NAME.")
    return tuple(value.removeprefix(NO) for value in values)


@click.group(cls=Shell, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-p", "disabled", multiple=True, metavar="no:NAME", callback=read_disabled,
              help="Do not import the plugin NAME: an entry point, a distribution or dist:entry. "
                   "BENCH_DISABLE=NAME,NAME does the same. BENCH_LOAD_TIMEOUT=TIME is how long one of "
                   "others may take to be imported, 60 s if not set.")  # fmt: skip
@click.option("--traceback", is_flag=True, help="Show where an error was raised.")
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=print_version,
              help="Show the versions of bench, Python, torch and timm.")  # fmt: skip
@click.pass_context
def main(ctx: click.Context, disabled: tuple[str, ...], traceback: bool) -> None:  # noqa: FBT001
    """Benchmark self-supervised learning on images.

    \b
    bench run                   SimCLR and a tiny ResNet on scikit-learn's digits: needs no download
    bench table                 the records as a table
    bench report                a page to look at
    bench list                  what there is to run
    bench show method simclr    its settings, where their defaults are from, its recipe
    """  # noqa: D301
    names = os.environ.get("BENCH_DISABLE", "").split(",")
    session = ctx.ensure_object(Session)
    session.by_option = disabled
    session.by_environment = tuple(name.strip() for name in names if name.strip())
    if limit := os.environ.get(LOAD_TIMEOUT):
        from bench.planning.option_values import read_timeout

        session.load_limit_s = read_timeout(limit, LOAD_TIMEOUT)
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


COMMANDS = (
    run, worker, table, compare, report, ranking, reference, status, watch, cancel, merge, verify, gc, rm,
    upgrade, export, list_, show, preview, plugins, completion,
)  # fmt: skip
for command in COMMANDS:
    main.add_command(command)

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
    from bench.inspection.installed import list_entry_points

    session.echo(list_entry_points(session.registry))


@plugins.command()
@session
def doctor(session: Session) -> int:
    """Say which plugins were found, what is wrong with them, with tracebacks, and what to do.

    The exit status is 1 if one failed to load, or lacks something that it says it needs.
    """
    from bench.inspection.installed import diagnose_failures

    session.echo(diagnose_failures(session.registry))
    return FAILED if session.registry.failures else 0


@plugins.command()
@click.argument("name")
@click.option("--kind", metavar="KIND", help="Only the plugin of this kind: method, backbone, dataset, "
              "evaluator or executor.")  # fmt: skip
@click.option("--set", "set_", multiple=True, metavar="PART.FIELD=VALUE", help="As of `bench run`; the "
              "part is the kind, the name, or `backbone`.")  # fmt: skip
@click.option("--data-dir", type=click.Path(path_type=Path), metavar="DIR", help="Where the files of a data "
              "set are. Without it, or dataset.root, what needs missing files is skipped.")  # fmt: skip
@click.option("--backbone", metavar="NAME", help="Check a method on this one.  [default: two small ones]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, for CI.")
@session
def check(
    session: Session,
    name: str,
    kind: str | None,
    set_: tuple[str, ...],
    data_dir: Path | None,
    backbone: str | None,
    *,
    as_json: bool,
) -> int:
    """Run the conformance kit on one plugin. The exit status is 1 if a check failed, or none was run.

    \b
    bench plugins check simclr
    bench plugins check simclr --set method.temperature=0.1 --backbone vit_tiny_patch16_224
    bench plugins check image_folder --set dataset.root=photos --json
    """  # noqa: D301
    from bench.inspection.plugins import find_kind

    singled = find_kind(kind) if kind else None
    session.registry.find_anywhere(name)  # refused before torch is imported
    from bench.inspection.conformance import Report, check_plugins, format_verdict, list_checked

    entries = list_checked(session.registry, name, singled)
    verdicts = []
    for verdict in check_plugins(session.registry, entries, set_, data_dir, backbone):
        verdicts.append(verdict)
        if not as_json:
            session.echo(format_verdict(verdict, alone=len(entries) == 1))
    report = Report(verdicts)
    session.echo(report.as_json() if as_json else report.text)
    return 0 if report.passed else FAILED


@plugins.command()
@click.argument("name")
@click.option("--kind", default="method", show_default=True, help="What it adds: method, backbone, dataset, "
              "evaluator, executor, format, logger or observer.")  # fmt: skip
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

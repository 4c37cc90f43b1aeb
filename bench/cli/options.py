"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from bench.cli.completion import KIND_OF, Completer, complete_folders, complete_names, complete_setting
from bench.errors import BadValue

F = TypeVar("F", bound=Callable[..., Any])


def axis(*names: str, metavar: str, text: str, complete: Completer | None = None) -> Callable[[F], F]:
    """Return an option that may be repeated and takes a list with commas; `text` is its help."""
    if names[0].removeprefix("--").replace("-", "_") in KIND_OF:
        complete = complete_names
    return click.option(*names, multiple=True, metavar=metavar, help=text, shell_complete=complete)


def split_names(values: Iterable[str], option: str = "") -> tuple[str, ...]:
    """Return the names of such an option, each once; which one is named twice is said.

    Args:
        values: of the option, each with commas.
        option: how it is written.

    Raises:
        BadValue: a name is empty.
    """
    texts = tuple(values)
    names = [part.strip() for value in texts for part in value.split(",")]
    if not all(names):
        raise BadValue(f"{option}: a name of {','.join(texts)!r} is empty. Take the comma out.")
    say_repeated(option, names)
    return tuple(dict.fromkeys(names))


def say_repeated(option: str, names: Sequence[str]) -> None:
    """Say on standard error which names an option has more than once."""
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            click.echo(f"Note: {option}: {name} is named twice, and counts once.", err=True)


results_option = click.option(
    "--results",
    type=click.Path(path_type=Path),
    default=Path("results"),
    metavar="DIR",
    show_default=True,
    help="Where the records are.",
    shell_complete=complete_folders,
)


def view_options(command: F) -> F:
    """Add the options that say which views are meant."""
    options = (
        axis("--dataset", metavar="NAME", text="What the views are of.  [default: digits]"),
        axis("--image-size", metavar="N", text="Side of a view.  [default: the data's]"),
        click.option(
            "--set",
            "set_",
            multiple=True,
            metavar="PART.FIELD=VALUE",
            help="As of `bench run`.",
            shell_complete=complete_setting,
        ),
        click.option(
            "--data-dir",
            metavar="DIR",
            help="Where downloads are kept.  [default: data]",
            shell_complete=complete_folders,
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command

"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def axis(*names: str, metavar: str, text: str) -> Callable[[F], F]:
    """Return an option that may be repeated and takes a list with commas; `text` is its help."""
    return click.option(*names, multiple=True, metavar=metavar, help=text)


def split_names(values: Iterable[str]) -> tuple[str, ...]:
    """Return the names of such an option, each once."""
    names = (part.strip() for value in values for part in value.split(","))
    return tuple(dict.fromkeys(name for name in names if name))


results_option = click.option(
    "--results",
    type=click.Path(path_type=Path),
    default=Path("results"),
    metavar="DIR",
    show_default=True,
    help="Where the records are.",
)


def view_options(command: F) -> F:
    """Add the options that say which views are meant."""
    options = (
        axis("--dataset", metavar="NAME", text="What the views are of.  [default: digits]"),
        axis("--image-size", metavar="N", text="Side of a view.  [default: the data's]"),
        click.option("--set", "set_", multiple=True, metavar="PART.FIELD=VALUE", help="As of `bench run`."),
        click.option("--data-dir", metavar="DIR", help="Where downloads are kept.  [default: data]"),
    )
    for option in reversed(options):
        command = option(command)
    return command

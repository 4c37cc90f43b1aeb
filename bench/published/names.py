"""The names that bench has for what was published, as `names.csv` says: none stands in code."""

from __future__ import annotations

import csv
from functools import cache
from importlib.resources import files


def name_in_bench(kind: str, published: str) -> str | None:
    """Return the name that bench has for a published one; none where the table does not know it.

    Args:
        kind: `method`, `dataset`, `backbone` or `readout`.
        published: as a source writes it; spaces, hyphens and capitals make no difference. A method that bench
            has not is known as an empty name.
    """
    return _known().get((kind, plain(published)))


def plain(name: str) -> str:
    """Return a name as it is compared: in small letters, without spaces, hyphens and underscores."""
    return name.lower().translate({ord(sign): None for sign in " -_"})


@cache
def _known() -> dict[tuple[str, str], str]:
    text = files("bench.published").joinpath("names.csv").read_text(encoding="utf-8")
    return {(row["kind"], plain(row["published"])): row["name"] for row in csv.DictReader(text.splitlines())}

"""Give names that a reader knows to methods, data sets and axes: `--name simclr=SimCLR,cifar10=CIFAR-10`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench.errors import BadData, BadValue, UnknownName, suggest

BLOCK = "names"


class Names(dict[str, str]):
    """What stands in a table for a name of an axis, of a value on one, or of a metric."""

    def of(self, *names: str) -> str:
        """Return what stands for the first of some spellings that is renamed; the last, where none is."""
        return next((self[name] for name in names if name in self), names[-1])


def parse_names(texts: Iterable[str]) -> Names:
    """Return the names of `--name` options.

    Args:
        texts: each `NAME=NEW,NAME=NEW`. What follows a comma and has no `=` belongs to the name before.

    Raises:
        BadValue: a name or what shall stand for it is missing.
    """
    names = Names()
    for text in texts:
        name = ""
        for part in text.split(","):
            if "=" in part:
                name, _, new = (side.strip() for side in part.partition("="))
                names[name] = new
            elif name:
                names[name] += f", {part.strip()}"
            if not name or not names[name]:
                raise BadValue(f"--name: {text!r} names nothing. Write NAME=NEW, e.g. simclr=SimCLR.")
    return names


def read_names(path: Path) -> Names:
    """Return the names in the block `names:` of a YAML file.

    Raises:
        BadData: the file cannot be read, or has no such block of texts.
    """
    import yaml

    where = f"--names: {path}"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadData(f"{where} cannot be read ({error.strerror}).") from None
    except (yaml.YAMLError, ValueError) as error:
        raise BadData(f"{where} is no YAML ({' '.join(str(error).split())}).") from None
    block = content.get(BLOCK) if isinstance(content, dict) else None
    if not isinstance(block, dict) or not block:
        raise BadData(f"{where} has no block `{BLOCK}:`. Write one, with lines such as `simclr: SimCLR`.")
    for name, new in block.items():
        if isinstance(new, (dict, list)) or new is None:
            raise BadData(f"{where}: {name} is to be {new!r}, which is no name. Write a text.")
    return Names({str(name): str(new) for name, new in block.items()})


def refuse_unknown_names(asked: Iterable[str], known: Iterable[Any]) -> None:
    """Refuse to rename what the table does not have.

    Raises:
        UnknownName: there is nothing of that name.
    """
    names = {str(name) for name in known}
    for name in asked:
        if name not in names:
            raise UnknownName(f"--name: nothing in the table is named {name!r}.{suggest(name, names)}")


def merge_names(first: Mapping[str, str], second: Mapping[str, str]) -> Names:
    """Return both; the second holds where both have a name."""
    return Names({**first, **second})

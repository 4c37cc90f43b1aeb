"""Read a grid file, and values as they stand after `--set`. Both are YAML, of a size that people write.

YAML can be small and mean much: a line of names that each stand for ten of the one before is more than any
memory. So what is written is measured before anything is made of it.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml

from bench.config import WrittenList
from bench.errors import BadValue, UnknownName, UsageError, suggest
from bench.plain_text import shorten_text

# YAML 1.2's core schema. PyYAML follows YAML 1.1, in which 1e-4 is text, `no` is false, 010 is 8,
# 12:30 is 750 and 2024-01-31 is a date.
SCALARS = {
    "null": r"~|null|Null|NULL|",
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?(0|[1-9][0-9]*)",
    "float": r"[-+]?(([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+|\.(inf|Inf|INF))"
    r"|\.(nan|NaN|NAN)",
}
MOST_BYTES = 100_000  # of a file or a value: PyYAML reads about as many a second
MOST_VALUES = 50_000  # of a file, each as often as it is referred to
DEEPEST = 32  # lists and mappings within each other
MOST_OPEN = 200  # brackets, some of which may be in a text
BRACKETS = re.compile(r"[\[\]{}]")
SHOWN = 60  # letters of a value in a message
BROKEN = (yaml.YAMLError, ValueError, RecursionError)  # the last two: `!!int x`, a thousand brackets


class Loader(yaml.SafeLoader):
    """YAML 1.2's plain values, and mappings without a key that is there twice."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - PyYAML's own name for it

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        """Return the mapping of `node`.

        Raises:
            ConstructorError: a key is there twice; PyYAML would take the last.
        """
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                problem = f"{key.value!r} is there twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _read_sequence(loader: Loader, node: yaml.SequenceNode) -> list[Any]:
    """Return the list of a node; one of plain values remembers how they are written."""
    items = loader.construct_sequence(node, deep=True)
    plain = all(isinstance(item, yaml.ScalarNode) for item in node.value)
    return WrittenList(items, [item.value for item in node.value]) if plain else items


Loader.add_constructor("tag:yaml.org,2002:seq", _read_sequence)
for _tag, _pattern in SCALARS.items():
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})$"), None)


def read_grid(path: Path, known: Collection[str]) -> dict[str, Any]:
    """Return a grid file's options by name, with `_` between words.

    Args:
        path: of the file.
        known: the names that options have.

    Raises:
        UnknownName: a key is not the name of an option.
        UsageError: the file cannot be read, or does not hold options as YAML.
    """
    content = _load(path)
    if not isinstance(content, dict):
        kind = "is empty" if content is None else "holds no options"
        kind = "holds a list" if isinstance(content, list) else kind
        raise UsageError(f"{path}: the grid file {kind}. Write an option a line, e.g. `method: [simclr]`.")
    options: dict[str, Any] = {}
    for key, value in content.items():
        name = str(key).replace("-", "_")
        if name not in known:
            remedy = suggest(name, known, most=len(known))
            raise UnknownName(f"{path}: no option of a grid file is named {key!r}.{remedy}")
        if name in options:
            raise BadValue(f"{path}: {name} is there twice, with - and with _. Keep one of them.")
        options[name] = value
    return options


def _load(path: Path) -> Any:
    """Return what a YAML file holds, or raise a UsageError that names the file."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        return _parse(content.decode("utf-8"))
    except FileNotFoundError:
        remedy = "Name a YAML file; methods are named with --method."
        raise UsageError(f"{path}: there is no such grid file. {remedy}") from None
    except OSError as error:
        raise UsageError(f"{path}: the grid file cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: the grid file is not UTF-8 text.") from None
    except BROKEN as error:
        raise UsageError(f"{path}: the grid file is not readable as YAML ({_problem(error)}).") from None


def read_value(text: str, where: str) -> Any:
    """Return the value that `text` writes, as in a grid file.

    Raises:
        BadValue: it is not YAML.
    """
    try:
        return _parse(text)
    except BROKEN as error:
        raise BadValue(
            f"{where}: {shorten_text(repr(text), SHOWN)} is not readable as YAML ({_problem(error)})."
        ) from None


def split(text: str, where: str) -> list[str]:
    """Return `text` split at the commas that are in no bracket and in no quotes.

    Raises:
        BadValue: there is nothing before, between or after commas.
    """
    values, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"" and not values[-1].strip():  # within a word it is an apostrophe
            quote = letter
        elif letter in "[{":
            depth += 1
        elif letter in "]}":
            depth -= 1
        if letter == "," and depth <= 0 and not quote:
            values.append("")
        else:
            values[-1] += letter
    if all(value.strip() for value in values):
        return values
    if len(values) > 1:
        raise BadValue(f"{where}: a value of {text!r} is empty. Take the comma out.")
    raise BadValue(f"{where}: it is empty. Name one.")


def _parse(text: str) -> Any:
    """Return what YAML says.

    Raises:
        YAMLError: it is not YAML, or more than a person writes.
    """
    if len(text) > MOST_BYTES:
        raise yaml.MarkedYAMLError(problem=f"it is longer than {MOST_BYTES:,} letters")
    if _count_open(text) > MOST_OPEN:  # PyYAML takes seconds to find that it is too much
        raise yaml.MarkedYAMLError(problem="too deep")
    loader = Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _measure(node, {})
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _count_open(text: str) -> int:
    """Return how many brackets are open at once at most, those in quotes among them."""
    depth = most = 0
    for letter in BRACKETS.findall(text):
        depth = depth + 1 if letter in "[{" else max(0, depth - 1)
        most = max(most, depth)
    return most


def _measure(node: yaml.Node, measured: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """Return how many values a node stands for, and how deep they are, with all that it refers to.

    Raises:
        MarkedYAMLError: that is too much, or it refers to itself.
    """
    if id(node) in measured:
        count, depth = measured[id(node)]
        if not count:
            raise yaml.MarkedYAMLError(problem="a value is part of itself", problem_mark=node.start_mark)
        return count, depth
    measured[id(node)] = (0, 0)
    parts = [] if isinstance(node, yaml.ScalarNode) else node.value
    parts = [one for pair in parts for one in pair] if isinstance(node, yaml.MappingNode) else parts
    count, depth = 1, 0
    for part in parts:
        more, below = _measure(part, measured)
        count, depth = count + more, max(depth, below + 1)
        if count > MOST_VALUES or depth > DEEPEST:
            what = f"more than {MOST_VALUES:,} values" if count > MOST_VALUES else "too deep"
            raise yaml.MarkedYAMLError(problem=what, problem_mark=node.start_mark)
    measured[id(node)] = count, depth
    return count, depth


def _problem(error: BaseException) -> str:
    """Return why text is not YAML, in one line."""
    mark = getattr(error, "problem_mark", None)
    message = getattr(error, "problem", None) or str(error)
    if isinstance(error, RecursionError):
        message = "too deep"
    if mark:
        message = f"line {mark.line + 1}: {message}"
    return " ".join(message.split())

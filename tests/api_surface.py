"""Write down `bench.api`: each name with its signature, and of a class those of its members.

    python tests/api_surface.py      # writes tests/api.txt: do so where the api is changed on purpose

A plugin that was written for a version of the api works with every later one of the same first number. So
what is here may be added to (the second number of `bench.api.VERSION` rises), and what is taken away or
changed is first named in `bench.api.DEPRECATED`, then raises the first number.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bench.api

FILE = Path(__file__).with_name("api.txt")


def write_surface() -> str:
    """Return the names in their order, a line each, and the members of classes below them."""
    version = ".".join(map(str, bench.api.VERSION))
    blocks = ["\n".join(describe(name, getattr(bench.api, name))) for name in bench.api.__all__]
    return "\n".join([f"bench.api {version}", "", *blocks]) + "\n"


def describe(name: str, what: Any) -> Iterator[str]:
    """Yield the lines about a name."""
    if inspect.isclass(what):
        bases = [base.__name__ for base in what.__mro__[1:-1] if base.__name__ in bench.api.__all__]
        yield f"class {name}{signature_of(what)}" + (f" extends {', '.join(bases)}" if bases else "")
        yield from (f"    {line}" for line in sorted(members_of(what)))
    elif inspect.isroutine(what):
        yield f"def {name}{signature_of(what)}"
    else:
        is_plain = " object at 0x" not in repr(what)
        yield f"{name} = {what!r}" if is_plain else f"{name}: {type(what).__name__}"


def members_of(cls: type) -> Iterator[str]:
    """Yield the public members that a class has of its own, or of bases that are not in the api."""
    fields = {field.name for field in dataclasses.fields(cls)} if dataclasses.is_dataclass(cls) else set()
    homes = [base for base in cls.__mro__[:-1] if base.__module__.startswith("bench.")]
    homes = [base for base in homes if base is cls or base.__name__ not in bench.api.__all__]
    for name in {name for home in homes for name in vars(home)} - fields:
        member = inspect.getattr_static(cls, name)
        if not name.startswith("_"):
            yield describe_member(name, member)


def describe_member(name: str, member: Any) -> str:
    """Return the line about a member of a class."""
    if isinstance(member, property):
        return f"{name}{signature_of(member.fget).partition(')')[2]}, a property"
    if isinstance(member, (classmethod, staticmethod)):
        return f"{name}{signature_of(member.__func__)}, a {type(member).__name__}"
    return f"{name}{signature_of(member)}" if inspect.isfunction(member) else f"{name} = {member!r}"


class Written:
    """An annotation that is shown as it is written."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def order(default: Any) -> Any:
    """Return a default that is shown alike in every process: a set has an order in each of its own."""
    return (
        Written("{" + ", ".join(map(repr, sorted(default))) + "}")
        if isinstance(default, frozenset)
        else default
    )


def signature_of(what: Any) -> str:
    """Return a signature without `self`, its annotations as they are written."""
    try:
        found = inspect.signature(what)
    except (TypeError, ValueError):  # an exception's
        return ""

    def show(annotation: Any) -> Any:
        return Written(annotation) if isinstance(annotation, str) else annotation

    named = [
        p.replace(annotation=show(p.annotation), default=order(p.default))
        for p in found.parameters.values()
        if p.name != "self"
    ]
    return str(found.replace(parameters=named, return_annotation=show(found.return_annotation)))


if __name__ == "__main__":
    FILE.write_text(write_surface(), encoding="utf-8")

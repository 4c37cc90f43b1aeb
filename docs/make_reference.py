"""Write docs/reference.md from the code: every name of `bench.api` with its signature and docstring.

python docs/make_reference.py           # writes the page
python docs/make_reference.py --check   # fails where the page is not what would be written
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import bench.api
from bench import hookspecs

PAGE = Path(__file__).parent / "reference.md"
HEAD = """# Reference: what a plugin is, and what it may use

Made from the docstrings of `bench.api` and `bench.hookspecs` by `make reference`. How to begin:
[plugins.md](plugins.md).
"""
CONTRACTS = {
    "A method": ("Method", "Batch", "Step", "Embeddings", "View", "Recipe", "ParamGroup", "Training"),
    "A backbone": ("Backbone", "BackboneInfo", "Tokens", "Normalisation", "ForeignModel"),
    "A data set": (
        "Dataset", "DatasetInfo", "DataLocation", "Images", "LazyPixels", "FileStream", "Selection",
    ),
    "An evaluator": ("Evaluator", "Task", "Features", "Network", "Scores", "FeatureSpec", "FeatureSettings"),
    "An executor": ("Executor", "WorkerSpec", "CellRunner", "Submission", "QueuedJob"),
    "A table format": (
        "TableFormat", "BinaryFormat", "Table", "TableRow", "TableColumn", "TableCell", "Caption",
    ),
    "What a catalogue yields": (
        "Offer", "Family", "PublishedResult", "NamedRecipe", "NamedViews", "NamedProtocol",
    ),
    "An observer is told of": ("Run",),
    "Settings": ("setting", "NoSettings"),
    "Errors": ("UsageError", "UnknownName", "BadValue", "BadData", "BadPlugin", "Unsupported", "CellError"),
}  # fmt: skip
SECTION = re.compile(r"^(Args|Returns|Raises|Attributes|Yields):\s*(.*)$")


def main() -> None:
    """Write the page, or compare it with what would be written."""
    page = make_page()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(page, encoding="utf-8")
    elif PAGE.read_text(encoding="utf-8") != page:
        sys.exit("docs/reference.md is not what the docstrings say. Run `make reference`.")


def make_page() -> str:
    """Return the page."""
    blocks = [HEAD.strip()]
    for heading, names in CONTRACTS.items():
        blocks.append(f"## {heading}")
        blocks += [block for name in names for block in _describe(name, getattr(bench.api, name))]
    blocks.append("## Hooks")
    hooks = [name for name in vars(hookspecs) if name.startswith("bench_")]
    blocks += [block for name in hooks for block in _describe(name, getattr(hookspecs, name))]
    told = {name for names in CONTRACTS.values() for name in names}
    functions = [name for name in bench.api.__all__ if name not in told and _is_part(name)]
    blocks.append("## Parts")
    blocks += [block for name in functions for block in _describe(name, getattr(bench.api, name))]
    return "\n\n".join(blocks) + "\n"


def _is_part(name: str) -> bool:
    found = getattr(bench.api, name)
    return inspect.isfunction(found) or inspect.isclass(found)


def _describe(name: str, what: Any) -> Iterator[str]:
    """Yield the paragraphs about a class with its members, or a function."""
    yield f"### {name}"
    yield f"`{name}{_sign(what)}`" if _has_signature(what) else f"`{name} = {what!r}`"
    if _has_signature(what):
        yield from _write_docstring(what.__doc__)
    if inspect.isclass(what):
        for member, found in _list_members(what):
            yield f"#### {name}.{member}"
            yield f"`{member}{_sign(found)}`" if not isinstance(found, property) else "A property."
            yield from _write_docstring(found.__doc__)


def _has_signature(what: Any) -> bool:
    return inspect.isclass(what) or inspect.isfunction(what)


def _list_members(cls: type) -> Iterator[tuple[str, Any]]:
    """Yield the documented members of a class: its own, and those of its bases in bench."""
    seen = set()
    for base in cls.__mro__[:-1]:
        if not base.__module__.startswith("bench."):
            continue
        for name, found in vars(base).items():
            inner = getattr(found, "__func__", None) or getattr(found, "fget", None) or found
            if name.startswith("_") or name in seen or not inspect.isfunction(inner) or not inner.__doc__:
                continue
            seen.add(name)
            yield name, found if isinstance(found, property) else inner


def _sign(what: Any) -> str:
    """Return a signature without self and cls; of a property none; of an exception none."""
    if isinstance(what, property) or (inspect.isclass(what) and issubclass(what, Exception)):
        return ""
    found = inspect.signature(what)
    kept = [parameter for name, parameter in found.parameters.items() if name not in ("self", "cls")]
    if inspect.isclass(what) and getattr(what, "_is_protocol", False):
        return ""
    parts, star = [], False
    for parameter in kept:
        if parameter.kind is parameter.KEYWORD_ONLY and not star:
            parts.append("*")
            star = True
        parts.append(parameter.name + _write_default(parameter))
    returned = (
        "" if found.return_annotation in (None, "None", found.empty) else f" -> {found.return_annotation}"
    )
    return f"({', '.join(parts)}){'' if inspect.isclass(what) else returned}"


def _write_default(parameter: inspect.Parameter) -> str:
    default = parameter.default
    if default is parameter.empty:
        return ""
    is_plain = default is None or isinstance(default, (bool, int, float, str, tuple))
    return f"={default!r}" if is_plain and not dataclasses.is_dataclass(default) else "=..."


def _write_docstring(doc: str | None) -> Iterator[str]:
    """Yield the paragraphs of a docstring as Markdown; arguments and errors are lists."""
    for paragraph in inspect.cleandoc(doc or "").split("\n\n"):
        lines = paragraph.strip("\n").splitlines()
        section = SECTION.match(lines[0]) if lines else None
        if section and section[1] in ("Args", "Raises", "Attributes"):
            yield "\n".join([f"{section[1]}:", "", *_list_items(lines[1:])])
        elif section:
            yield f"{section[1]}: {' '.join(line.strip() for line in lines[1:] or [section[2]])}"
        elif lines:
            yield "\n".join(lines)


def _list_items(lines: Iterable[str]) -> Iterator[str]:
    """Yield an item for each `name: meaning` of a section, whose next lines are indented."""
    items: list[str] = []
    for line in lines:
        name, colon, meaning = line.strip().partition(": ")
        if line.startswith("    ") and not line.startswith("        ") and colon:
            items.append(f"- `{name}`: {meaning}")
        elif items:
            items[-1] += f" {line.strip()}"
        else:
            items.append(f"- {line.strip()}")
    yield from items


if __name__ == "__main__":
    main()

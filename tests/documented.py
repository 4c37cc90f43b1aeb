"""Find every fenced block of the documentation."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
FILES = (
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "results/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
)
FENCED = re.compile(r"^( *)```([^\n]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block: where it is, its language, its text, and the text of the document that follows it."""

    name: str
    language: str
    text: str
    after: str


def blocks_of(file: Path) -> list[Block]:
    """Return the blocks of a document, each named by the file and the line of its fence."""
    document = file.read_text(encoding="utf-8")
    return [
        Block(
            name=f"{file.relative_to(ROOT)}:{document.count(chr(10), 0, found.start()) + 1}",
            language=found[2],
            text=textwrap.dedent(found[3]),
            after=document[found.end() :].lstrip("\n"),
        )
        for found in FENCED.finditer(document)
    ]


BLOCKS = [block for file in FILES for block in blocks_of(file)]


def in_language(*languages: str) -> list[Block]:
    return [block for block in BLOCKS if block.language in languages]


def block_with(text: str) -> Block:
    """Return the one block that has `text` in it."""
    (found,) = (block for block in BLOCKS if text in block.text)
    return found

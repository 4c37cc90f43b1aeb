"""Text that is what it looks like: signs that steer a terminal or turn writing round are spelt out."""

from __future__ import annotations

import json
import re
from typing import Any

# Controls, line breaks among them, signs without width, signs that turn the direction of writing, halves of
# signs, and tags. Joiners are not among them: names in some scripts need these.
UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff"
    "\ufeff\ufff9-\ufffb\ufffe\uffff\U000e0000-\U000e007f]"
)
FORMULA = re.compile(r"[=+\-@\t＝＋－＠]")
UNIT_STEP = 1000
UNITS = ("B", "kB", "MB", "GB", "TB")
UNSEEN_BUT_LAYOUT = re.compile(UNSEEN.pattern.replace("\x00-\x1f", "\x00-\x08\x0b-\x1f"))


def spell_out(text: str) -> str:
    r"""Return a text in which signs that are not seen are escapes, such as `\x1b`; lines and tabs stay."""
    return text if text.isprintable() else UNSEEN_BUT_LAYOUT.sub(_escape, text)


def spell_out_json(text: str) -> str:
    """Return JSON in which signs that are not seen are escapes of JSON."""
    return (
        text if text.isprintable() else UNSEEN_BUT_LAYOUT.sub(lambda match: json.dumps(match[0])[1:-1], text)
    )


def spell_out_line(text: str) -> str:
    """Return the same, with line breaks and tabs as escapes, too: a name that is one line stays one."""
    return text if text.isprintable() else UNSEEN.sub(_escape, text)


def join_lines(text: str) -> str:
    """Return a text on one line, each run of white space as one blank, signs that are not seen as escapes."""
    return spell_out_line(" ".join(text.split()))


def shorten_text(text: str, most: int) -> str:
    """Return a text of at most so many letters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def spell_out_field(value: Any) -> Any:
    """Return a value of CSV; what a spreadsheet would take for a formula has an apostrophe before it."""
    if not isinstance(value, str):
        return value
    text = spell_out(value)
    return f"'{text}" if FORMULA.match(text) else text


def escape_halves(text: str) -> str:
    """Return a text that UTF-8 can hold: half of a surrogate pair, from a file name, is escaped."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def cut(text: str, most: int) -> str:
    """Return a text of at most so many letters: of a longer one start, end, and how many are left out."""
    if len(text) <= most:
        return text
    note = f" ... [{len(text) - most:,} of {len(text):,} letters left out] ... "
    kept = max(0, most - len(note))
    return f"{text[: kept - kept // 4]}{note}{text[len(text) - kept // 4 :]}"


def format_bytes(size: float) -> str:
    """Return a size in the unit that suits it: 12 B, 3.4 MB."""
    for unit in UNITS[:-1]:
        if size < UNIT_STEP:
            return f"{size:.0f} {unit}" if unit == UNITS[0] else f"{size:.1f} {unit}"
        size /= UNIT_STEP
    return f"{size:.1f} {UNITS[-1]}"


def _escape(match: re.Match[Any]) -> str:
    return ascii(match[0])[1:-1]


def indent(text: str, by: str = "  ") -> str:
    """Return a text with each of its lines indented."""
    return "\n".join(f"{by}{line}".rstrip() for line in text.splitlines())

"""Records that a stranger may have written: a part of a real one is something else, its digest right."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.keys import digest
from bench.storage.record_json import encode
from bench.storage.records import RecordStore

ESCAPES = "\x1b[31m\x07\u202egnp.\x9b"
MARKUP = "<script>alert(1)</script>&#8238;![x](http://a)\\input{/etc/passwd}=1+1|a|"
DEEP: Any = []
for _ in range(200):
    DEEP = [DEEP]
NASTY: tuple[Any, ...] = (
    None, True, 0, -1, 1.5, 1e30, -1e308, 1e308, 10**17, 10**100, -(10**400), "", "x", "nan", "inf", "a\0b",
    "../../x", "/etc/passwd", "a/b", ESCAPES, MARKUP, "=1+1", "x" * 5000, "\ud800", "a\nb", [], [[]], [None],
    ["x"], [1e308, 1e308], {}, {"": None}, {"x": {"y": []}}, {ESCAPES: ESCAPES}, {"value": "x"}, DEEP,
)  # fmt: skip

Path_ = tuple[str | int, ...]  # from a record to one of its parts


def list_paths(value: Any, most: int = 4, start: Path_ = ()) -> Iterator[Path_]:
    """Yield the path of each part of a value, down to a depth; of a list, of its first item only."""
    items: Sequence[tuple[str | int, Any]] = ()
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))[:1]
    for name, item in items:
        yield (*start, name)
        if most > 1:
            yield from list_paths(item, most - 1, (*start, name))


def change(record: dict[str, Any], path: Path_, value: Any) -> dict[str, Any]:
    """Return a copy of a record in which a part is another value; `...` is a part that is not there."""
    changed: Any = copy.copy(record)
    *above, last = path
    part = changed
    for name in above:
        part[name] = copy.copy(part[name])
        part = part[name]
    if value is ...:
        del part[last]
    else:
        part[last] = copy.copy(value)
    return changed  # type: ignore[no-any-return]


def list_changes(record: dict[str, Any]) -> list[tuple[str, Path_, Any]]:
    """Return the changes of a record that `change` makes: their names, and what they are."""
    changes = [
        (f"{'.'.join(map(str, path))}={number}", path, value)
        for path in list_paths(record)
        for number, value in enumerate((..., *NASTY))
    ]
    for part in ("metrics", "config", "settings", "protocol", "cost", "provenance", "per_class", "cell"):
        for odd in (ESCAPES, MARKUP, "../x", "=cmd()"):
            changes += [(f"{part}+{odd!r}={n}", (part, odd), value) for n, value in enumerate(NASTY)]
    return changes


def list_hostile(record: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each change of a record, with what it is."""
    for name, path, value in list_changes(record):
        yield name, change(record, path, value)


def place(store: RecordStore, name: str, record: Any) -> Path | None:
    """Write a record where it says that it belongs, with a key of its own; none where it says nothing."""
    try:
        if name.startswith("keys.score"):
            key = str(record["keys"]["score"])
        else:
            key = digest(name)
            record = {**record, "keys": {**record["keys"], "score": key}}
        path = store.path(record["cell"], key)
        content = encode(record)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except (KeyError, TypeError, AttributeError, ValueError, OSError):
        return None
    return path


def read_real(folder: Path) -> dict[str, Any]:
    """Return the first committed record of a folder."""
    path = min(folder.rglob("*.json"))
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    del record["digest"]
    return record

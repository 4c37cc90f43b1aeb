"""Write a record as JSON that people and git can read, and read it back: numbers that JSON lacks too.

A file says the digest of all else that is in it, so that a number which was changed by hand, by a merge or
by a failing disk is not taken for a result.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from bench.keys import KEY_LENGTH
from bench.plain_text import shorten_text
from bench.storage.record_shape import (
    NOT_FINITE,
    TEXT_LETTERS,
    Malformed,
    check_shape,
    find_part_fault,
)
from bench.storage.usual_record import is_usual

Record = dict[str, Any]

NOT_FINITE_BYTES = tuple(f'"{word}"'.encode() for word in NOT_FINITE)
FLAT_LIST = re.compile(r"\[\n *([^\[\]{}]*?)\n *\]")
NEW_LINE = re.compile(r"\n *")
FIELD = b'\n "'  # one blank: of the record itself, not of a part
START, END = b"{" + FIELD, b"\n}\n"
BROKEN = (ValueError, RecursionError)  # no JSON, nested too deep
SHARED = {  # as they start, in the order of a record
    name: FIELD + f'{name}": '.encode()
    for name in ("classes", "config", "notes", "protocol", "provenance", "settings")
}
DIGEST = "digest"


def encode(record: Mapping[str, Any]) -> bytes:
    """Return a record as JSON with its digest; the same record is the same bytes, however it was built."""
    content = {name: part for name, part in record.items() if name != DIGEST}
    return _encode({**content, DIGEST: hash_content(_encode(content))})


def decode(content: bytes) -> Any:
    """Return what `json.loads` does; parts that many records have alike are one object, and stay unchanged.

    Of a large folder, that is faster and takes less memory.

    Raises:
        ValueError: it is no JSON, or has not the shape of a record.
        RecursionError: it is nested too deep.
    """
    record = json.loads(content)
    check_shape(record)
    restore_numbers(record, content)
    parts = _split_parts(content)
    if parts is None:
        return record
    if any(record[name] != value for name, value in parts[1].items()):
        raise Malformed("a part is there twice")
    return {**record, **parts[1]}


def decode_all(contents: Sequence[bytes | OSError]) -> list[Any]:
    """Return what `decode` does of each content, or the error that it raises.

    They are decoded in one: the names of fields are then one object in all of them, a third of their memory.

    Args:
        contents: of files; why a file could not be read is handed on.
    """
    parts = [None if isinstance(content, OSError) else _split_parts(content) for content in contents]
    owns = [part[0] for part in parts if part is not None]
    try:
        decoded = json.loads(b"[" + b",".join(owns) + b"]")
    except BROKEN:
        decoded = []
    if len(decoded) != len(owns):  # one of them is broken
        return [_decode_or_explain(content) for content in contents]
    own = iter(decoded)
    records = []
    for content, part in zip(contents, parts, strict=True):
        record = next(own) if part else {}
        usual = part and is_usual(record)
        records.append({**record, **part[1]} if part and usual else _decode_or_explain(content))
    return records


def _decode_or_explain(content: bytes | OSError) -> Any:
    try:
        return content if isinstance(content, OSError) else decode(content)
    except BROKEN as error:
        return error


def _split_parts(content: bytes) -> tuple[bytes, dict[str, Any]] | None:
    """Return the text of what is a record's own, and what it shares; none if it was laid out anew."""
    if not (content.startswith(START) and content.endswith(END)):
        return None
    own, alike, done = [], {}, 1  # the first line ends here
    for name, field in SHARED.items():
        start = content.find(field, done - 1)
        end = content.find(FIELD, start + 1)
        if -1 in (start, end):  # it is not there, or last: then a comma would be left
            continue
        own.append(content[done:start])
        try:
            alike[name] = _decode_shared(name, content[start + len(field) : end - 1])
        except BROKEN:
            return None
        done = end
    return b"{" + b"".join((*own, content[done:])), alike


@functools.lru_cache(maxsize=4096)
def _decode_shared(name: str, content: bytes) -> Any:
    value = json.loads(content)
    if find_part_fault(name, value):
        raise Malformed(name)
    return value


def digest_of(record: Mapping[str, Any]) -> str:
    """Return the digest that a record has in its file, or would have."""
    return hash_content(_encode({name: part for name, part in record.items() if name != DIGEST}))


def matches_digest(record: Record, content: bytes) -> bool:
    """Tell whether a record is what its digest was made of.

    Args:
        record: as JSON gave it, with its digest.
        content: what it was read from. Where it is as it was written, less has to be done; one that was only
            laid out anew (indented, other ends of lines) matches, too.
    """
    line = f'\n "{DIGEST}": "{record[DIGEST]}",'.encode()  # one blank: of the record itself, not of a part
    start = content.find(line)
    if start >= 0 and hash_content(content[:start] + content[start + len(line) :]) == record[DIGEST]:
        return True
    return bool(digest_of(record) == record[DIGEST])


def _encode(record: Mapping[str, Any]) -> bytes:
    text = json.dumps(_to_json(record), indent=1, sort_keys=True, ensure_ascii=False)
    # half of a surrogate pair, from an undecodable file name, becomes a JSON escape
    return (_join_flat_lists(text) + "\n").encode("utf-8", "backslashreplace")


def hash_content(content: bytes) -> str:
    """Return the digest of the content of a file without its line of one."""
    return hashlib.sha256(content).hexdigest()[:KEY_LENGTH]


def refuse_unreadable_parts(parts: Mapping[str, Any]) -> None:
    """Refuse parts of a record that could be written, and not be read again.

    Args:
        parts: some of a record's, by name.

    Raises:
        ValueError: they have another shape than readers rely on, e.g. a number that is enormous.
    """
    for name, value in json.loads(_encode(parts)).items():
        fault = find_part_fault(name, value)
        if fault:
            raise ValueError(fault)


def restore_numbers(record: Record, content: bytes) -> None:
    """Turn the words that stand for what JSON cannot hold back into numbers, in place.

    Args:
        record: as JSON gave it.
        content: what it was read from, which rarely has such a word: looking there first is quick.
    """
    nan, inf, minus_inf = NOT_FINITE_BYTES
    if nan not in content and inf not in content and minus_inf not in content:
        return
    for metric in (record.get("metrics") or {}).values():
        metric["value"] = _to_number(metric["value"])
    for part in {"per_class", "cost"} & record.keys():
        record[part] = _to_number(record[part])


def _to_json(value: Any) -> Any:
    """Return `value` as JSON can carry it: a result is never lost to the type of a number."""
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, str):
        return shorten_text(value, TEXT_LETTERS)
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, Mapping):
        return {str(name): _to_json(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_to_json(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((_to_json(item) for item in value), key=str)
    return _to_json(value.tolist()) if hasattr(value, "tolist") else str(value)


def _to_number(value: Any) -> Any:
    if isinstance(value, str):
        return NOT_FINITE.get(value, value)
    if isinstance(value, list):
        return [_to_number(item) for item in value]
    return {name: _to_number(item) for name, item in value.items()} if isinstance(value, dict) else value


def _join_flat_lists(text: str) -> str:
    """Put each list of plain values on one line: a record of 1,000 classes stays readable."""
    return FLAT_LIST.sub(lambda match: f"[{NEW_LINE.sub(' ', match[1])}]", text)

"""No record of a stranger hurts: what has not the shape of one is named and left out, the others are read."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile_records import MARKUP, list_changes, place, read_real
from hostile_records import change as change_part
from made_records import full_record, make

from bench.errors import CellError
from bench.keys import KEY_LENGTH
from bench.reporting.table import table
from bench.storage import record_json
from bench.storage import records as records_module
from bench.storage.frame import results
from bench.storage.record_shape import find_fault
from bench.storage.records import MOST_TOLD, RecordStore
from bench.storage.usual_record import is_usual

REAL = Path(__file__).parents[2] / "results" / "ten-epochs" / "records" / "simclr"
SEED, TRIED = 7, 200


def resealed(content: bytes) -> bytes:
    """Return the content of a record with the digest that it has now."""
    start = content.index(b'\n "digest": "')
    end = content.index(b",", start) + 1
    digest = record_json.hash_content(content[:start] + content[end:])
    return content[:start] + f'\n "digest": "{digest:.{KEY_LENGTH}}",'.encode() + content[end:]


def choose(changes: list[Any], count: int) -> list[Any]:
    """Return some of the changes, the same in every run."""
    order = np.random.default_rng(SEED).permutation(len(changes))
    return [changes[number] for number in order[:count]]


def test_what_is_taken_for_usual_in_one_pass_has_no_fault() -> None:
    real, seen = read_real(REAL), 0
    for name, path, value in choose(list_changes(real), TRIED):
        record = json.loads(record_json.encode(change_part(real, path, value)))
        own = {part: value for part, value in record.items() if part not in record_json.SHARED}
        if is_usual(own):
            seen += 1
            shared = {part: real[part] for part in record_json.SHARED if part in real}
            assert find_fault({**own, **shared}) == "", name

    assert 0 < seen < TRIED
    assert is_usual({part: value for part, value in real.items() if part not in record_json.SHARED})


def test_a_table_and_a_frame_are_made_whatever_one_record_says(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    real, store, placed = read_real(REAL), RecordStore(tmp_path), 0
    changes = [change for change in list_changes(real) if not change[0].startswith("protocol")]
    for name, path, value in choose(changes, TRIED // 2):
        placed += place(store, name, change_part(real, path, value)) is not None
    place(store, "good", {**real, "cell": {**real["cell"], "method": "honest"}})
    records = list(store.records())
    told = list(caplog.messages)

    assert 0 < len(records) < placed
    assert "honest" in table(records)
    assert len(results(tmp_path)) >= len(records)
    assert len(told) == MOST_TOLD + 1
    assert f"{placed + 1 - len(records) - MOST_TOLD:,} more records are left out" in told[-1]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda text: text.replace(b'"value": 71.25', b'"value": "x"'), "metrics.top1.value is 'x', not a"),
        (lambda text: text.replace(b'"value": 71.25', b'"value": 1e308'), "is 1e+308, not a number of any"),
        (lambda text: text.replace(b'"n": 360', b'"n": ' + b"9" * 400), "is an enormous number, not a"),
        (lambda text: text.replace(b'"n": 360', b'"n": ' + b"9" * 5000), "damaged, no JSON"),
        (lambda text: text.replace(b'"score": "s0"', b'"score": "../../s0"'), "is '../../s0', not a key"),
        (lambda text: text.replace(b'"backbone": "b0"', b'"backbone": "/etc/x"'), "is '/etc/x', not a key"),
        (lambda text: text.replace(b'"features": "f0"', b'"features": "a\\u0000"'), "not a key of each"),
        (lambda text: text.replace(b'"method": "simclr"', b'"method": 1'), "cell.method is 1, not text"),
        (lambda text: text.replace(b'"k": 20', b'"k": ' + b"[" * 90 + b"]" * 90), "is nested too deep"),
        (lambda text: text.replace(b'"k": 20', b'"k": ' + b"[" * 9**5 + b"]" * 9**5), "damaged, no JSON"),
        (lambda text: text.replace(b'"k": 20', b'"k": "' + b"x" * 2_000_000 + b'"'), "has 2,000,000 letters"),
        (lambda text: text.replace(b'"schema": 2', b'"schema": 0'), "its schema is 0"),
        (lambda text: text.replace(b'"schema": 2', b'"schema": "2"'), "its schema is '2'"),
        (lambda text: text.replace(b'"schema": 2', b'"schema": 3'), "has schema 3, this bench reads 2."),
        (lambda text: text.replace(b'"seed": 0', b'"seed": NaN'), "cell.seed is nan, not a whole number"),
        (lambda text: text.replace(b'"settings": {}', b'"settings": 7'), "settings is 7, not a mapping"),
        (lambda text: text.replace(b'\n "status"', b'\n "config": {},\n "status"'), "a part is there twice"),
        (lambda text: text[:0], "damaged, no JSON"),
        (lambda text: b"\xff\xfe" + text, "damaged, no JSON"),
    ],
)  # fmt: skip
def test_a_record_that_is_none_is_named_with_what_is_wrong(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[bytes], bytes], said: str
) -> None:
    store = RecordStore(tmp_path)
    path, _ = store.write(full_record("s0")), store.write(full_record("s1", seed=1))
    content = damage(path.read_bytes())
    path.write_bytes(resealed(content) if b'"digest"' in content else content)

    assert [record["cell"]["seed"] for record in store.records()] == [1]
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(f"{path}: ")
    assert said in caplog.messages[0]
    assert len(caplog.messages[0]) < 1000


def test_a_number_that_json_has_no_word_for_is_read(tmp_path: Path) -> None:
    store = RecordStore(tmp_path)
    for word, expected in ((b"1e999", "inf"), (b"-Infinity", "-inf"), (b"NaN", "nan")):
        path = store.write(full_record("s0"))
        path.write_bytes(resealed(path.read_bytes().replace(b"71.25", word)))

        assert str(store.read(path)["metrics"]["top1"]["value"]) == expected


@pytest.mark.parametrize("kind", ["pipe", "endless", "folder", "nowhere", "itself"])
def test_what_is_no_file_is_neither_waited_for_nor_read_without_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    store = RecordStore(tmp_path)
    path, _ = store.write(full_record("s0")), store.write(full_record("s1", seed=1))
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    else:
        targets = {"endless": "/dev/zero", "folder": tmp_path, "nowhere": tmp_path / "x", "itself": path}
        path.symlink_to(targets[kind])

    assert [record["cell"]["seed"] for record in store.records()] == [1]
    assert len(caplog.messages) == (kind != "folder")


def test_a_file_that_is_larger_than_any_record_is_not_read_to_its_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records_module, "LARGEST_FILE", 100_000)
    path = RecordStore(tmp_path).write(full_record("s0", notes=["x" * 200_000]))

    assert list(RecordStore(tmp_path).records()) == []
    assert caplog.messages == [f"{path}: the record cannot be read (File too large)."]


def test_a_file_name_that_steers_a_terminal_is_spelt_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = RecordStore(tmp_path).write(full_record("s0"))
    path.rename(path.with_name("a\x1b[31m\u202eb.json"))

    assert list(RecordStore(tmp_path).records()) == []
    assert "a\\x1b[31m\\u202eb.json: " in caplog.messages[0]


def test_nothing_is_written_that_would_not_be_read_again(tmp_path: Path) -> None:
    with pytest.raises(
        CellError, match=r"could not be read: metrics.nll.value is 1e\+300, not a number of any"
    ):
        RecordStore(tmp_path).write(make(value=1e300))
    path = RecordStore(tmp_path).write(full_record(status="failed", metrics={}, reason="x" * 5_000_000))

    assert len(RecordStore(tmp_path).read(path)["reason"]) == 1_000_000


def test_the_other_records_of_a_batch_are_read_beside_one_that_breaks_out_of_it(tmp_path: Path) -> None:
    store = RecordStore(tmp_path)
    path, _ = store.write(full_record("s0")), store.write(full_record("s1", seed=1))
    path.write_bytes(path.read_bytes().replace(b"\n}\n", b'\n}, {"a": 1\n}\n'))

    assert [record["cell"]["seed"] for record in store.records()] == [1]
    assert MARKUP not in table(store.records())


@pytest.fixture(autouse=True)
def warnings_alone(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)

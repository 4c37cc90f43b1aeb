from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from made_records import full_record

from bench.storage.frame import results
from bench.storage.record_json import decode, decode_all, encode
from bench.storage.records import RecordStore


def test_numbers_that_json_cannot_hold_survive(tmp_path: Path) -> None:
    odd = {"a": math.inf, "b": -math.inf, "c": math.nan}
    metrics = {name: {"value": value, "higher_is_better": True, "n": 1} for name, value in odd.items()}
    path = RecordStore(tmp_path).write(full_record(metrics=metrics, per_class={"recall": [math.nan, 1.0]}))
    record = RecordStore(tmp_path).read(path)
    frame = results(tmp_path)

    json.loads(path.read_text(), parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert [record["metrics"][name]["value"] for name in "ab"] == [math.inf, -math.inf]
    assert math.isnan(record["metrics"]["c"]["value"])
    assert math.isnan(record["per_class"]["recall"][0])
    assert record["classes"] == ["0", "nan"]
    assert frame["metric"].tolist() == ["a", "b", "c"]
    assert frame["value"].tolist()[:2] == [math.inf, -math.inf]


def test_a_result_is_not_lost_to_the_type_of_a_value(tmp_path: Path) -> None:
    odd = {"x": np.float32(0.5), "y": np.arange(2), "z": (1, 2), "p": Path("a"), "s": {"b", "a"}}
    path = RecordStore(tmp_path).write(full_record(protocol=odd))

    assert RecordStore(tmp_path).read(path)["protocol"] == {
        "x": 0.5,
        "y": [0, 1],
        "z": [1, 2],
        "p": "a",
        "s": ["a", "b"],
    }


def test_the_same_record_is_the_same_bytes_however_it_was_built(tmp_path: Path) -> None:
    first = RecordStore(tmp_path).write(full_record()).read_bytes()
    second = RecordStore(tmp_path).write(dict(reversed(full_record().items()))).read_bytes()

    assert first == second
    assert first.endswith(b"}\n")
    assert b'"recall": [70.0, 72.5]' in first


def test_odd_text_survives(tmp_path: Path) -> None:
    classes = ["あ", "a ]b", "[ c", "{d}", "two  spaces", "line\nend", "\u2028", "\udc80", "null"]
    path = RecordStore(tmp_path).write(full_record(classes=classes, notes=["a ] , [ b"]))

    assert RecordStore(tmp_path).read(path)["classes"] == classes
    assert RecordStore(tmp_path).read(path)["notes"] == ["a ] , [ b"]


@pytest.mark.parametrize(
    "lay_out",
    [
        lambda content: content,
        lambda content: json.dumps(json.loads(content)).encode(),
        lambda content: json.dumps(json.loads(content), indent=4).encode(),
        lambda content: content.replace(b"\n", b"\r\n"),
    ],
    ids=["as written", "on one line", "indented by four", "with other ends of lines"],
)
def test_a_record_is_decoded_as_json_has_it_however_it_is_laid_out(lay_out: Callable[[bytes], bytes]) -> None:
    odd = {"notes": ['a "quoted" word,', '\n "config": {}', "}\n}"], "reason": '\n "status": "ok",'}
    content = lay_out(encode(full_record("s0", **odd)))

    assert decode(content) == json.loads(content)


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{\n "config": {]\n}\n', b'{\n "config": \n}\n', b"[" * 100_000]
)
def test_what_is_no_json_is_refused_as_ever(content: bytes) -> None:
    with pytest.raises((ValueError, RecursionError)):
        decode(content)


def test_what_records_have_alike_is_one_object() -> None:
    one, other = (decode(encode(full_record(name, seed=seed))) for seed, name in enumerate(("s0", "s1")))

    assert one["config"] is other["config"]
    assert one["metrics"] is not other["metrics"]


def test_the_names_of_fields_are_one_object_in_records_that_are_decoded_together() -> None:
    contents = [encode(full_record(f"s{seed}", seed=seed)) for seed in range(2)]
    one, other = decode_all(contents)

    for part in ("cell", "keys", "metrics"):
        assert all(a is b for a, b in zip(one[part], other[part], strict=True))
    assert [one, other] == [json.loads(content) for content in contents]


@pytest.mark.parametrize(
    "broken", [b"{", b"", b"[" * 100_000, b'{\n "a": 1},{"b": 2\n}\n', b'{\n "config": x,\n "d": 1\n}\n']
)
def test_what_is_broken_among_records_is_an_error_and_the_others_are_decoded(broken: bytes) -> None:
    whole = [encode(full_record(f"s{seed}", seed=seed)) for seed in range(2)]
    first, error, last = decode_all([whole[0], broken, whole[1]])

    assert isinstance(error, (ValueError, RecursionError))
    assert [first, last] == [json.loads(content) for content in whole]


def test_a_record_that_ends_with_a_part_that_is_shared_is_decoded() -> None:
    record = full_record(settings={"b": 2})
    lines = [
        f' "{name}": {json.dumps(record[name])}'
        for name in ("cell", "keys", "metrics", "schema", "status", "settings")
    ]
    content = "{{\n{}\n}}\n".format(",\n".join(lines)).encode()

    assert decode_all([content]) == [json.loads(content)]

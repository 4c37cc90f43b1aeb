"""Find out in one pass that a record has the shape that nearly every record has.

It asks for the same as `record_shape`, in a tenth of the time, and does not say what is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.bounds import LARGEST, WHOLE
from bench.storage.record_shape import (
    CELL_OTHERS,
    CELL_TEXTS,
    COST,
    NAME_LETTERS,
    PARTS,
    SCHEMA,
    STATUSES,
)

_TEXT_OR_NOT = frozenset({str, type(None)})
_NUMBER_TYPES = frozenset({int, float})
_FLAG_OR_NOT = frozenset({bool, type(None)})
_NOTHING: dict[str, Any] = {}
_OWN = frozenset({
    "cell", "keys", "status", "schema", "digest", "reason", "metrics", "headline", "per_class", "cost",
    "error", "contents", "notes_of", "predictions",
})  # fmt: skip
_CELL_NAMES = frozenset({*CELL_TEXTS, *CELL_OTHERS, "label_frac", "seed", "shots", "keep_one"})
_COST_NUMBERS = ("images_per_s", "features_images_per_s", "params", "flops")
_COST_NAMES = frozenset(COST)


def is_usual(record: Mapping[str, Any]) -> bool:
    """Tell whether all of a record that few others share has the usual shape; false where that is not sure.

    Args:
        record: as JSON gave it, without the parts that `find_part_fault` was asked of.
    """
    try:
        metrics = record["metrics"]
        per_class = _part(record, "per_class")
        headline = record.get("headline")
        names = [*metrics, *per_class] if headline is None else [headline, *metrics, *per_class]
        return (
            record.keys() <= _OWN
            and record["schema"] == SCHEMA
            and record["status"] in STATUSES
            and type(metrics) is dict
            and type(record.get("digest")) in _TEXT_OR_NOT
            and len("".join(names)) < NAME_LETTERS
            and _is_usual_cell(record["cell"])
            and _has_usual_keys(record["keys"])
            and _has_usual_numbers(metrics, per_class)
            and _is_usual_cost(_part(record, "cost"))
            and (record.get("reason") is None or _is_fine(record, "reason"))
            and (record.get("error") is None or _is_fine(record, "error"))
            and _whole_or_none(record.get("predictions"))
            and ("contents" not in record or _is_fine(record, "contents"))
            and ("notes_of" not in record or _is_fine(record, "notes_of"))
        )
    except (KeyError, TypeError, AttributeError):
        return False


def _part(record: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a mapping that may be left out or be none.

    Raises:
        TypeError: it is something else.
    """
    part = record.get(name)
    if type(part) is dict:
        return part
    if part is not None:
        raise TypeError(name)
    return _NOTHING


def _whole_or_none(value: Any) -> bool:
    return value is None or (type(value) is int and 0 <= value < WHOLE)


def _is_fine(record: Mapping[str, Any], name: str) -> bool:
    return PARTS[name](record[name], name) == ""


def _is_usual_cell(cell: dict[str, Any]) -> bool:
    share, seed, shots = cell["label_frac"], cell["seed"], cell.get("shots")
    names = [cell["method"], cell["backbone"], cell["dataset"], cell["evaluator"]]
    names += [cell[name] for name in CELL_OTHERS if cell.get(name) is not None]
    return (
        cell.keys() <= _CELL_NAMES
        and len("".join(names)) < NAME_LETTERS
        and (share is None or (type(share) is float and 0 < share <= 1))
        and type(seed) is int
        and 0 <= seed < WHOLE
        and (shots is None or (type(shots) is int and 0 <= shots < WHOLE))
        and type(cell.get("keep_one")) in _FLAG_OR_NOT
    )


def _has_usual_keys(keys: dict[str, Any]) -> bool:
    features = keys["features"]
    own = features.values() if type(features) is dict else [features]
    text = "".join([keys["score"], keys["backbone"], *own])
    are_there = all(keys.values()) and all(own)
    return len(keys) == 3 and are_there and len(text) < 200 and text.isalnum() and text.isascii()


def _has_usual_numbers(metrics: dict[str, Any], per_class: dict[str, Any]) -> bool:
    for metric in metrics.values():
        value, n = metric["value"], metric["n"]
        if (
            type(value) is not float
            or not -LARGEST <= value <= LARGEST
            or type(n) is not int
            or not 0 <= n < WHOLE
            or type(metric["higher_is_better"]) not in _FLAG_OR_NOT
            or len(metric) != 3
        ):
            return False
    return all(map(_are_usual, per_class.values()))


def _are_usual(values: Sequence[float]) -> bool:
    """Tell whether values are a list of numbers, none of them enormous."""
    return type(values) is list and (
        not values
        or (set(map(type, values)) <= _NUMBER_TYPES and min(values) >= -LARGEST and max(values) <= LARGEST)
    )


def _is_usual_cost(cost: dict[str, Any]) -> bool:
    seconds, passes, threads = _part(cost, "seconds"), _part(cost, "passes"), _part(cost, "threads")
    numbers, names = [*map(cost.get, _COST_NUMBERS), *seconds.values()], [*seconds, *passes, *threads]
    for part in passes.values():
        numbers += part.values()
        names += part
    peaks = cost.get("peak_mb")
    numbers += peaks.values() if type(peaks) is dict else [peaks]
    names += peaks if type(peaks) is dict else ()
    return (
        cost.keys() <= _COST_NAMES
        and _are_usual([number for number in numbers if number is not None])
        and len("".join(names)) < NAME_LETTERS
        and all(map(_is_count, threads.values()))
        and COST["devices"](cost.get("devices"), "") == ""
    )


def _is_count(counts: list[int] | None) -> bool:
    return counts is None or (set(map(type, counts)) <= {int} and _are_usual(counts))

"""Choose records by their values on axes: `--where method=simclr|vicreg,label_frac=0.1`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from bench.errors import BadValue, UnknownName, UsageError, suggest
from bench.reporting.axes import NULL, Survey, survey_records
from bench.reporting.formats.values import format_value
from bench.reporting.headings import format_label
from bench.reporting.pivot import USUAL_AXES

Conditions = Mapping[str, tuple[str, ...]]  # the values that are asked for, by the axis's name


def parse_conditions(texts: Iterable[str]) -> Conditions:
    """Return the conditions of `--where` options.

    Args:
        texts: each `AXIS=VALUE,AXIS=VALUE`. One axis may have several values, by repetition or with `|`
            between them, which `select_records` looks at: a name may have one. What follows a comma and names
            no axis belongs to the value before: `views.ops=crop,flip`.

    Raises:
        BadValue: there is no axis, or no value.
    """
    conditions: dict[str, list[str]] = {}
    for text in texts:
        axis, own = "", list[str]()
        for part in text.split(","):
            if "=" in part:
                axis, _, value = (side.strip() for side in part.partition("="))
                own = conditions.setdefault(axis, [])
                own.append(value)
            elif own:
                own[-1] += f",{part.strip()}"
            if not axis or not all(part.strip() for value in own for part in value.split("|")):
                raise BadValue(f"--where: {text!r} is no condition. Write AXIS=VALUE, e.g. method=simclr.")
    return {axis: tuple(dict.fromkeys(values)) for axis, values in conditions.items()}


def select_records(
    records: Sequence[Mapping[str, Any]], conditions: Conditions, option: str = "--where"
) -> Sequence[Mapping[str, Any]]:
    """Return the records that have one of the values on each axis, in their order.

    A data set has the name of its folder and that of its plugin.

    Args:
        records: all of them.
        conditions: as `parse_conditions` returns them; none leaves all records.
        option: what errors start with.

    Raises:
        UnknownName: there is no such axis, or no record has such a value on it.
        UsageError: no record has all that is asked for.
    """
    if not conditions or not records:
        return records
    survey = survey_records(records)
    tests = [_make_test(survey, axis, values, option) for axis, values in conditions.items()]
    kept = [point.record for point in survey.points if all(test(point.axes) for test in tests)]
    if not kept:
        asked = " and ".join(f"{axis}={'|'.join(values)}" for axis, values in conditions.items())
        raise UsageError(f"{option}: no record has {asked} at once. Leave one of them out.")
    return kept


def _make_test(
    survey: Survey, name: str, texts: Sequence[str], option: str
) -> Callable[[Mapping[str, Any]], bool]:
    """Return what tells whether a record has one of the values on an axis."""
    if name == "metric":
        raise UnknownName(f"{option}: metric is no axis of records. Choose metrics with --metric.")
    axis, known = survey.resolve_axis(name), survey.axis_names()
    if axis not in known:
        usual = (*USUAL_AXES, *survey.distinguishing)
        hint = suggest(name, known) or suggest(name, usual, most=99)
        raise UnknownName(f"{option}: no axis is named {name!r}.{hint}")
    values = survey.values_on(axis)
    wanted: list[Any] = []
    for text in _list_alternatives(axis, texts, values):
        found = [value for value in values if _means(axis, text, value)]
        found += survey.data_of_plugin(axis, text)
        if not found:
            labels = [format_value(NULL if value is None else value) for value in values]
            raise UnknownName(f"{option}: no record has {name} {text!r}.{suggest(text, labels)}")
        wanted += found
    return lambda axes: axes.get(axis) in wanted


def _list_alternatives(axis: str, texts: Sequence[str], values: Sequence[Any]) -> Iterator[str]:
    """Yield the values that are asked for: a text with `|` is several, but where it is the name of one."""
    for text in texts:
        if any(_means(axis, text, value) for value in values):
            yield text
        else:
            yield from (part.strip() for part in text.split("|"))


def _means(axis: str, text: str, value: Any) -> bool:
    """Tell whether a text is how a value is written: `0.10`, `0.1` and `10%` are a tenth of the labels."""
    if value is None:
        return text == NULL
    if text in (format_value(value), format_label(axis, value), format_label(axis, value).replace(" ", "")):
        return True
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        with contextlib.suppress(ValueError):
            return float(text) == value
    return False

"""Collect the published results that plugins bring, beside those that come with bench."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bench.hookspecs import PUBLISHED
from bench.published.results import PublishedResult, list_rows, load_published, parse_row, refuse_impossible
from bench.registry.discovery import Discovery, Failure, Plugin, contain_failure, loading


def collect_published(discovery: Discovery) -> tuple[PublishedResult, ...]:
    """Return all published results, bench's own first; what is wrong with one is a failure of its plugin."""
    results = {result.setting: result for result in load_published()}
    for plugin in discovery.registered:
        with contain_failure(discovery, plugin, PUBLISHED), loading(plugin, PUBLISHED):
            for items in discovery.hook_of(plugin, PUBLISHED)():
                for item in items:
                    _add_item(discovery, plugin, item, results)
    return tuple(results.values())


def _add_item(
    discovery: Discovery, plugin: Plugin, item: Any, results: dict[tuple[object, ...], PublishedResult]
) -> None:
    """Add a result, or those of a file; what is wrong with one of them leaves the others."""
    for where, found in _read_item(item):
        problem = found if isinstance(found, str) else _find_conflict(found, results)
        if problem:
            discovery.failures.append(Failure(plugin, PUBLISHED, f"{where}: {problem}"))
        elif not isinstance(found, str):
            results.setdefault(found.setting, found)


def _read_item(item: Any) -> Iterator[tuple[str, PublishedResult | str]]:
    """Yield where something was found, and a result, or what is wrong with it."""
    if isinstance(item, PublishedResult):
        yield f"{item.published!r}", _check(item)
        return
    if not hasattr(item, "read_text"):
        yield repr(item), "is neither a PublishedResult nor a file. Yield one of these."
        return
    name = getattr(item, "name", str(item))
    try:
        for line, row in list_rows(item.read_text(encoding="utf-8")):
            yield f"{name} line {line}", _parse(row)
    except OSError as error:
        yield name, f"it cannot be read ({error.strerror or error})."
    except ValueError as error:  # no UTF-8, too
        yield name, str(error)


def _check(result: PublishedResult) -> PublishedResult | str:
    try:
        refuse_impossible(result)
    except ValueError as error:
        return str(error)
    return result


def _parse(row: Any) -> PublishedResult | str:
    try:
        return parse_row(row)
    except ValueError as error:
        return str(error)


def _find_conflict(result: PublishedResult, results: dict[tuple[object, ...], PublishedResult]) -> str:
    """Return in words which number is known of the same setting and source, if it is another one."""
    known = results.get(result.setting)
    if known is None or known.top1 == result.top1:
        return ""
    return (
        f"top1 is {result.top1:g}, but {known.top1:g} is known of {result.published} on {result.dataset} "
        f"from the same source ({result.source}). The first is used."
    )

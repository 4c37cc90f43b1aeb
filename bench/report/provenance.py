"""Show how results were made: commands, settings, recipes, protocols, versions."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from bench.report.commands import list_commands
from bench.report.markup import DASH, escape, write_table
from bench.report.results import Results
from bench.report.section import Section
from bench.reporting.axes import survey_records
from bench.reporting.formats.values import format_value
from bench.reporting.threads import threads_of
from bench.storage.data_names import ROLES, name_data

MOST_VALUES = 8  # that are listed of one thing
MOST_COMMANDS = 12
MOST_ROWS = 150  # of a table
OWN_PATHS = "Where data lies is in no record: set dataset.root where yours lies elsewhere."

Record = Mapping[str, Any]
Facts = Iterable[tuple[str, Any]]  # names and values


def build_provenance(results: Results) -> Section:
    """Return the section of how the records were made."""
    body = "".join([
        *_write_commands(results), *_write_settings(results.records), *_write_recipes(results.records),
        *_write_protocols(results.records), *_write_versions(results.records),
    ])  # fmt: skip
    return Section("provenance", "How it was made", body=body)


def count_values(records: Iterable[Record], facts: Callable[[Record], Facts]) -> dict[str, Counter[str]]:
    """Return how many records have which value of each fact, in the order they come."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for record in records:
        for name, value in facts(record):
            counts[name][_write(value)] += 1
    return counts


def list_commits(record: Record) -> Facts:
    """Yield what a record says of code, versions and device."""
    provenance = dict(record.get("provenance") or {})
    commit, dirty = provenance.pop("git_commit", None), provenance.pop("git_dirty", None)
    if commit:
        yield "commit", f"{commit}{', changed' if dirty else ''}"
    for name, value in provenance.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}: {part}", one) for part, one in value.items())
        elif value is not None:
            yield name, value
    if threads := threads_of(record):
        yield "threads", threads
    for role, name in zip(ROLES, name_data([record])[0], strict=True):
        fingerprint = ((record.get("config") or {}).get(role) or {}).get("fingerprint")
        if fingerprint:
            yield f"fingerprint of {name}", fingerprint


def _write_commands(results: Results) -> Iterator[str]:
    commands = list_commands(results.records)
    if len(commands) == 1:
        says = "This makes the same cells again"
    else:
        says = f"These {len(commands)} commands make the same cells again"
    shown = commands[:MOST_COMMANDS]
    if len(commands) > len(shown):
        says += f"; the first {len(shown)} are shown"
    yield '<h3 id="commands">Commands</h3>'
    yield f"<p>{says}. {OWN_PATHS}</p>"
    yield "".join(f'<pre tabindex="0"><code>{escape(command)}</code></pre>' for command in shown)


def _write_settings(records: Sequence[Record]) -> Iterator[str]:
    survey = survey_records(records)
    names = dict.fromkeys((*survey.distinguishing, *survey.explicit, "train.epochs"))
    rows = []
    for name in names:
        values = [format_value(value) for value in survey.values_on(name) if value is not None]
        if values:
            rows.append((name, _list_some(values), "yes" if name in survey.distinguishing else "no"))
    if rows:
        yield '<h3 id="settings">Settings</h3>'
        yield write_table(
            ("setting", "values", "tells cells apart"), rows, "Settings that were set, and that differ"
        )


def _write_recipes(records: Sequence[Record]) -> Iterator[str]:
    """Yield a table of what each method was trained with, where it was."""
    recipes: dict[tuple[Any, ...], None] = {}
    fields: dict[str, None] = {}
    for record in records:
        training = (record.get("config") or {}).get("training") or {}
        if "epochs" in training:
            fields.update(dict.fromkeys(training))
            recipes[
                record["cell"]["method"], tuple((name, _write(value)) for name, value in training.items())
            ] = None
    rows = [(method, *(dict(recipe).get(name, DASH) for name in fields)) for method, recipe in recipes]
    if rows:
        yield '<h3 id="recipes">Recipes</h3>'
        yield write_table(("method", *fields), rows[:MOST_ROWS], "What each method was trained with")
        yield _count_more(len(rows))


def _write_protocols(records: Sequence[Record]) -> Iterator[str]:
    by_evaluator: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        if record.get("protocol"):
            by_evaluator[record["cell"]["evaluator"]].append(record)
    rows = [
        (evaluator, name, _list_counts(counts))
        for evaluator, some in by_evaluator.items()
        for name, counts in count_values(some, lambda record: record["protocol"].items()).items()
    ]
    if rows:
        yield '<h3 id="protocols">Protocols</h3>'
        yield write_table(("evaluator", "what", "how"), rows[:MOST_ROWS], "What each evaluator did")
        yield _count_more(len(rows))


def _write_versions(records: Sequence[Record]) -> Iterator[str]:
    rows = [(name, _list_counts(counts)) for name, counts in count_values(records, list_commits).items()]
    yield '<h3 id="versions">Versions and devices</h3>'
    if rows:
        yield write_table(("what", "which"), rows[:MOST_ROWS], "Code, packages, devices and data")
    else:
        yield "<p>The records do not say what they were made with.</p>"


def _list_counts(counts: Counter[str]) -> str:
    """Return the value that all have, or each with how many cells have it."""
    if len(counts) == 1:
        return next(iter(counts))
    return _list_some([f"{value} ({count} cells)" for value, count in counts.most_common()])


def _list_some(values: Sequence[str]) -> str:
    more = f"; and {len(values) - MOST_VALUES} more" if len(values) > MOST_VALUES else ""
    return "; ".join(values[:MOST_VALUES]) + more


def _count_more(count: int) -> str:
    return f"<p>{count - MOST_ROWS} more rows are left out.</p>" if count > MOST_ROWS else ""


def _write(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_write, value)) or DASH
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_write(item)}" for name, item in value.items()) or DASH
    return f"{value:.6g}" if isinstance(value, float) else format_value(value)

"""Say what there is to run: the texts of `bench list`, `bench show` and `bench plugins`."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from tabulate import tabulate

from bench.config import format_value
from bench.errors import UnknownName, suggest
from bench.registry.registry import KINDS, Entry, Failure, Plugin, Registry, singular

BUILT_IN = "ssl-bench"  # the distribution that need not be named beside each of its offers
WIDTHS = (None, None, 20, 44, 32)  # of a setting's name, default, range, meaning and source


def find_kind(word: str) -> str:
    """Return the kind that `word`, singular or plural, means.

    Raises:
        UnknownName: there is no such kind.
    """
    for kind in KINDS:
        if word.lower() in (kind, singular(kind)):
            return kind
    raise UnknownName(f"no kind of plugin is named {word!r}.{suggest(word, KINDS)}")


def kind_or_pattern(what: str | None, pattern: str | None) -> tuple[str | None, str | None]:
    """Return the kind and the pattern of `bench list`, whose first argument may be either.

    Raises:
        UnknownName: two arguments are given, and the first is no kind.
    """
    if what is None or pattern is not None or what.lower() in {*KINDS, *map(singular, KINDS)}:
        return (find_kind(what) if what else None), pattern
    return None, what


# ---- bench list


def list_plugins(registry: Registry, kind: str | None = None, pattern: str | None = None) -> str:
    """Return what there is, kind by kind.

    Args:
        registry: where to look.
        kind: only this one.
        pattern: only names that match: a glob, or any part of a name. Families are then opened.

    Raises:
        UnknownName: nothing matches.
    """
    kinds = (kind,) if kind else tuple(KINDS)
    rows = {k: [row for e in registry.entries(k) for row in _offered(registry, e, pattern)] for k in kinds}
    if pattern and not any(rows.values()):
        raise UnknownName(f"nothing that is listed matches {pattern!r}. Leave the pattern out to see all.")
    text = [f"{k}\n{_columns(rows[k]) or '  none'}" for k in kinds if rows[k] or not pattern]
    return "\n\n".join(text)


def _offered(registry: Registry, entry: Entry, pattern: str | None) -> Iterable[Sequence[str]]:
    origin = "" if entry.dist == BUILT_IN else f"({entry.dist} {entry.version})"
    if not entry.family:
        if _matches(entry.name, pattern):
            yield entry.name, entry.summary, origin
    elif pattern is None:
        yield f"{entry.name} (family)", f"{entry.summary} {_size(registry, entry)}", origin
    else:
        for name in registry.family_names(entry):
            if _matches(name, pattern):
                yield name, f"of {entry.name}", origin


def _size(registry: Registry, entry: Entry) -> str:
    return f"{len(registry.family_names(entry)):,} names: bench list {entry.kind} PATTERN"


def _matches(name: str, pattern: str | None) -> bool:
    if pattern is None:
        return True
    return fnmatchcase(name, pattern) if any(c in pattern for c in "*?[") else pattern in name


# ---- bench show


def show(registry: Registry, kind: str, name: str) -> str:
    """Return all that is known of one plugin: settings, recipe, reference, origin.

    Raises:
        UnknownName: nothing is offered under that name.
        BadPlugin: it cannot be imported.
    """
    families = [e for e in registry.entries(kind) if e.family and name in (e.name, e.full_name)]
    entry = families[0] if families else registry.find(kind, name)
    cls = registry.import_class(entry)
    parts = [_heading(entry, cls), _about(cls), _settings(entry, cls)]
    recipe = getattr(cls, "recipe", None)
    if recipe is not None:
        parts.append(f"recipe (--set train.NAME=VALUE)\n{_pairs(vars(recipe))}")
    return "\n\n".join(filter(None, parts))


def _heading(entry: Entry, cls: type[Any]) -> str:
    what = f"family of {entry.kind}" if entry.family else singular(entry.kind)
    facts = {"summary": entry.summary, "family": entry.member_of, "reference": getattr(cls, "reference", "")}
    origin = {
        "version": getattr(cls, "version", None),
        "from": f"{entry.dist} {entry.version}, {entry.target}",
    }
    return f"{entry.name}: {what}\n{_pairs({k: v for k, v in (facts | origin).items() if v})}"


def _about(cls: type[Any]) -> str:
    """Return the first paragraph of the module's docstring, or the class's, whichever says more."""
    module = inspect.getmodule(cls)
    docs = [inspect.cleandoc(doc).split("\n\n")[0] for doc in (module.__doc__, cls.__doc__) if doc]
    return max(docs, key=len, default="")


def _settings(entry: Entry, cls: type[Any]) -> str:
    if not hasattr(cls, "Config"):  # a format has nothing to set
        return ""
    part = entry.name if entry.kind == "evaluators" else singular(entry.kind)
    fields = dataclasses.fields(cls.Config)
    if not fields:
        return "settings: none"
    rows = [(f.name, *describe_plugins(f)) for f in fields]
    headers = ("name", "default", "allowed", "meaning", "source")
    table = tabulate(
        rows, headers, tablefmt="plain", disable_numparse=True, maxcolwidths=list(WIDTHS), missingval=""
    )
    return f"settings (--set {part}.NAME=VALUE)\n{_indented(table)}"


def describe_plugins(field: dataclasses.Field[Any]) -> tuple[str, str, str, str]:
    """Return a setting's default, allowed values, meaning and source, as a reader wants them."""
    about: Mapping[str, Any] = field.metadata
    bounds = (("more than", "above"), ("at least", "least"), ("at most", "most"))
    said = [f"{word} {about[key]:g}" for word, key in bounds if about.get(key) is not None]
    said += [", ".join(map(format_value, about["choices"]))] if about.get("choices") else []
    required = field.default is dataclasses.MISSING
    default = "required" if required else format_value(field.default)
    return default, ", ".join(said), about.get("doc", ""), about.get("source", "")


# ---- bench plugins


def plugins_listing(registry: Registry) -> str:
    """Return every entry point that was found, what it offers, and what is wrong with it."""
    rows = []
    for plugin in registry.plugins:
        failures = [f for f in registry.failures if f.plugin == plugin]
        state = "disabled" if plugin.blocked else "FAILED" if failures else "ok"
        rows.append((plugin.id, plugin.version, state, _offers(registry, plugin)))
        rows += [("", "", "", f"{f.phase}: {f.error}") for f in failures]
    known = set(registry.plugins)
    rows += [
        (f.plugin.id, "", "FAILED", f"{f.phase}: {f.error}")
        for f in registry.failures
        if f.plugin not in known
    ]
    return _columns(rows, indent="") or "no plugin is installed"


def doctor(registry: Registry) -> str:
    """Return every failure with its traceback and what to do about it."""
    if not registry.failures:
        return f"{len(registry.plugins)} plugins, nothing is wrong with them."
    return "\n\n".join(map(_diagnosis, registry.failures))


def _diagnosis(failure: Failure) -> str:
    plugin = failure.plugin
    lines = [f"{plugin.id} {plugin.version} ({plugin.module}) FAILED at {failure.phase}: {failure.error}"]
    if failure.traceback:
        lines.append(_indented(failure.traceback.rstrip()))
    lines.append(f"  Reinstall or upgrade {plugin.dist}, report this to its authors, or run without it:")
    lines.append(f"  bench -p no:{plugin.id} ...   or   BENCH_DISABLE={plugin.id}")
    return "\n".join(lines)


def _offers(registry: Registry, plugin: Plugin) -> str:
    said = []
    for kind in KINDS:
        names = [e.name for e in registry.entries(kind) if e.plugin == plugin]
        said += [f"{kind}: {', '.join(names)}"] if names else []
    observers = registry.observer_hooks(plugin)
    return "; ".join(said + ([f"observes {', '.join(observers)}"] if observers else []))


# ---- layout


def _pairs(values: Mapping[str, Any]) -> str:
    return _columns([(name, format_value(value)) for name, value in values.items()])


def _columns(rows: Sequence[Sequence[str]], indent: str = "  ") -> str:
    return _indented(tabulate(rows, tablefmt="plain", disable_numparse=True), indent)


def _indented(text: str, indent: str = "  ") -> str:
    return "\n".join(f"{indent}{line}".rstrip() for line in text.splitlines())

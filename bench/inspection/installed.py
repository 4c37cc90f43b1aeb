"""What is installed, and what is wrong with it: the texts of `bench plugins` and `bench plugins doctor`."""

from __future__ import annotations

from bench.inspection.plugins import format_columns, without_empty
from bench.plain_text import indent
from bench.registry.discovery import REQUIREMENTS
from bench.registry.registry import KINDS, Failure, Plugin, Registry, singular


def list_entry_points(registry: Registry) -> str:
    """Return every installed entry point, what it offers, and what is wrong with it."""
    registry.published(), registry.presets()  # so that what is wrong with them is seen
    rows = []
    for plugin in registry.plugins:
        failures = [f for f in registry.failures if f.plugin == plugin]
        state = "disabled" if plugin.blocked else "FAILED" if failures else "ok"
        rows.append((plugin.id, plugin.version, state, _format_offers(registry, plugin)))
        rows += [("", "", "", f"{f.phase}: {f.error}") for f in failures]
        rows += [("", "", "", line) for line in _describe_names(registry, plugin)]
    known = set(registry.plugins)
    rows += [
        (f.plugin.id, "", "FAILED", f"{f.phase}: {f.error}")
        for f in registry.failures
        if f.plugin not in known
    ]
    return format_columns(rows, by="") or "no plugin is installed"


def diagnose_failures(registry: Registry) -> str:
    """Return what was found, and every failure with its traceback and what to do about it."""
    registry.published(), registry.presets()  # so that what is wrong with them is seen
    for entry in (entry for kind in KINDS for entry in registry.entries(kind) if entry.family):
        registry.family_names(entry)  # so that what is wrong with these is, too
    found = [
        (plugin.id, plugin.version, plugin.module, "disabled" if plugin.blocked else "")
        for plugin in registry.plugins
    ]
    dists = {plugin.dist for plugin in registry.plugins}
    broken = {failure.plugin.id for failure in registry.failures}
    said = f"wrong with {', '.join(sorted(broken))}." if broken else "nothing is wrong with them."
    names = [line for plugin in registry.plugins for line in _describe_names(registry, plugin)]
    blocks = [
        "\n".join(["found", format_columns(without_empty(found))]),
        *map(_diagnose, registry.failures),
        *(["\n".join(["names", *(f"  {line}" for line in names)])] if names else []),
        f"{len(found)} plugins of {len(dists)} distributions: {said}",
    ]
    return "\n\n".join(blocks)


def _describe_names(registry: Registry, plugin: Plugin) -> list[str]:
    """Return a line for each offer of a plugin that has a name of bench's own."""
    return [
        f"{singular(kind)} {entry.name}: bench has its own, which goes before it. "
        f"This one is {entry.full_name}; its authors may give it another name."
        for kind in KINDS
        for entry in registry.shadowed(kind)
        if entry.plugin == plugin
    ]


def _diagnose(failure: Failure) -> str:
    plugin = failure.plugin
    lines = [f"{plugin.id} {plugin.version} ({plugin.module}) FAILED at {failure.phase}: {failure.error}"]
    if failure.traceback:
        lines.append(indent(failure.traceback.rstrip()))
    if failure.phase != REQUIREMENTS:  # which says by itself what to do
        lines.append(f"  Reinstall or upgrade {plugin.dist}, report this to its authors, or run without it:")
    lines.append(f"  bench -p no:{plugin.id} ...   or   BENCH_DISABLE={plugin.id}")
    return "\n".join(lines)


def _format_offers(registry: Registry, plugin: Plugin) -> str:
    words = []
    for kind in KINDS:
        names = [entry.name for entry in registry.entries(kind) if entry.plugin == plugin]
        if names:
            words.append(f"{kind}: {', '.join(names)}")
    own = (one for one in registry.presets() if one.plugin == plugin)
    words += [f"{one.slot} {one.preset.name} of {one.owner}" for one in own]
    observers = registry.observer_hooks(plugin)
    if observers:
        words.append(f"observes {', '.join(observers)}")
    return "; ".join(words)

"""Find the plugins that are installed, contain those that are broken, look one up by its name.

The loop over entry points is our own: pluggy's stops at the first ImportError and skips the
second of two entry points of one name without a word. Here a plugin that fails is a `Failure`,
and everything else goes on.
"""

from __future__ import annotations

import functools
import importlib
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from bench.boundary import is_from_user
from bench.errors import BadPlugin, UnknownName, one_line, suggest
from bench.registry.declarations import read_declarations
from bench.registry.discovery import (
    CELL_KINDS,
    KINDS,
    OBSERVER_HOOKS,
    Discovery,
    Entry,
    Failure,
    Plugin,
    contain_failure,
    discover,
    loading,
    same_dist,
)

if TYPE_CHECKING:
    from bench.published.results import PublishedResult
    from bench.registry.presets import PresetEntry

CHECKED_KINDS = (*CELL_KINDS, "executors")

__all__ = ["CELL_KINDS", "KINDS", "Entry", "Failure", "Plugin", "Registry", "find_meant", "singular"]


def singular(kind: str) -> str:
    """Return the kind as an error or a heading names one of it: `methods` is `method`."""
    return kind.removesuffix("s")


def find_meant(word: str, kinds: Iterable[str]) -> str | None:
    """Return the one of some kinds that a word means, singular or plural, if it means one."""
    return next((kind for kind in kinds if word.lower() in (kind, singular(kind))), None)


@dataclass
class Registry:
    """The offers of all plugins that could be loaded, and why others could not."""

    _discovery: Discovery
    _names: dict[Entry, tuple[str, ...]] = field(default_factory=dict)
    _declared: dict[Entry, type[Any]] = field(default_factory=dict)
    _published: tuple[PublishedResult, ...] | None = None
    _presets: tuple[PresetEntry, ...] | None = None

    @classmethod
    def load(cls, blocked: Iterable[str] = ()) -> Registry:
        """Import every installed plugin's catalogue.

        Args:
            blocked: plugins never to import, each an entry point's name, a distribution's name or
                `distribution:entry point`.
        """
        return cls(discover(tuple(blocked)))

    @property
    def plugins(self) -> tuple[Plugin, ...]:
        """Every entry point found, the blocked and the broken ones too."""
        return tuple(self._discovery.plugins)

    @property
    def failures(self) -> tuple[Failure, ...]:
        """What went wrong, in the order it did."""
        return tuple(self._discovery.failures)

    def entries(self, kind: str) -> tuple[Entry, ...]:
        """Return all offers of a kind, families as one entry each."""
        return tuple(entry for entry in self._discovery.entries if entry.kind == kind)

    def published(self) -> tuple[PublishedResult, ...]:
        """Return all published results, those of plugins too; what is wrong with one is one more failure."""
        from bench.registry.published import collect_published

        if self._published is None:
            self._published = collect_published(self._discovery)
        return self._published

    def presets(self) -> tuple[PresetEntry, ...]:
        """Return the recipes, views and protocols that plugins add to others; failures as of `published`."""
        from bench.registry.presets import SLOTS, collect_presets

        if self._presets is None:
            known = {kind: list(self._list_names(kind)) for kind in SLOTS}
            self._presets = collect_presets(self._discovery, known)
        return self._presets

    def _list_names(self, kind: str) -> Iterator[str]:
        for entry in self.entries(kind):
            yield from self.family_names(entry) if entry.family else (entry.name,)

    def observer_hooks(self, plugin: Plugin) -> tuple[str, ...]:
        """Return the names of the observer hooks that a plugin has."""
        return tuple(self._observers_of(plugin)) if plugin in self._discovery.registered else ()

    def observers(self) -> list[tuple[Plugin, dict[str, Callable[..., Any]]]]:
        """Return the plugins that observe a run, each with its observer hooks by name."""
        hooks = [(plugin, self._observers_of(plugin)) for plugin in self._discovery.registered]
        return [(plugin, own) for plugin, own in hooks if own]

    def _observers_of(self, plugin: Plugin) -> dict[str, Callable[..., Any]]:
        callers = {hook: self._discovery.hook_of(plugin, hook) for hook in OBSERVER_HOOKS}
        return {hook: caller for hook, caller in callers.items() if caller.get_hookimpls()}

    def find(self, kind: str, name: str) -> Entry:
        """Return the offer that `name` means; of a family, the member of that name.

        What came with bench goes before what did not, unless that is asked for by its full name.

        Args:
            kind: one of `KINDS`.
            name: `name` or `distribution:name`.

        Raises:
            UnknownName: nothing is offered under that name, or more than one thing is.
        """
        dist, _, short = name.rpartition(":")
        entries = [e for e in self.entries(kind) if not dist or same_dist(e.dist, dist)]
        own = [e for e in entries if e.plugin.built_in]
        matches = self._match(own, short) or self._match(entries, short)
        if not matches:
            raise UnknownName(self._describe_unknown(kind, name, short, entries or list(self.entries(kind))))
        if len(matches) > 1:
            names = " and ".join(sorted(e.full_name for e in matches))
            raise UnknownName(
                f"{len(matches)} {kind} are named {short!r}: {names}. Ask for one of them by its full name."
            )
        return matches[0]

    def _match(self, entries: Sequence[Entry], name: str) -> list[Entry]:
        """Return what a short name means among some offers; one by itself goes before one of a family."""
        return [e for e in entries if e.name == name and not e.family] or self._family_members(entries, name)

    def shadowed(self, kind: str) -> list[Entry]:
        """Return the offers of others that have a name of bench's own: only their full names mean them."""
        others = [e for e in self.entries(kind) if not e.plugin.built_in and not e.family]
        own = [e for e in self.entries(kind) if e.plugin.built_in]
        return [entry for entry in others if self._match(own, entry.name)]

    def describe_shadowed(self, names: Mapping[str, Iterable[str]]) -> list[str]:
        """Return a line for each of some names that also means an offer which is not taken.

        Args:
            names: that were asked for, by their kinds.
        """
        return [
            f"{entry.name}: the {singular(kind)} of bench is meant. {entry.dist} {entry.version} has one of "
            f"this name, too: {entry.full_name}."
            for kind, own in names.items()
            for entry in self.shadowed(kind)
            if entry.name in own
        ]

    def find_anywhere(self, name: str) -> list[Entry]:
        """Return what a name means, of whatever kind a conformance kit checks.

        Raises:
            UnknownName: nothing is offered under that name.
        """
        found, unknown = [], []
        for kind in CHECKED_KINDS:
            try:
                found.append(self.find(kind, name))
            except UnknownName as error:
                unknown.append(str(error))
        if not found:
            likely = [said for said in unknown if "Did you mean" in said or "are named" in said]
            raise UnknownName((likely or [f"no plugin is named {name!r}. See `bench list`."])[0])
        return found

    def family_names(self, entry: Entry) -> tuple[str, ...]:
        """Return every name that a family serves; none, and one more failure, if it cannot tell."""
        if entry not in self._names:
            self._names[entry] = ()
            called = loading(entry.plugin, entry.names)
            with contain_failure(self._discovery, entry.plugin, "names"), called:
                self._names[entry] = tuple(map(str, import_target(entry.names)()))
        return self._names[entry]

    def load_class(self, kind: str, name: str) -> type[Any]:
        """Import the class that `name` means.

        Raises:
            UnknownName: see `find`.
            BadPlugin: it cannot be imported, or is not what its kind extends.
        """
        entry = self.find(kind, name)
        return self.import_class(entry)

    def declared(self, kind: str, name: str) -> type[Any]:
        """Return what the class that `name` means declares: without torch, where it can be told without.

        Raises:
            UnknownName: see `find`.
            BadPlugin: see `import_class`.
        """
        return self.declared_by(self.find(kind, name))

    def declared_by(self, entry: Entry) -> type[Any]:
        """Return a class with the declarations of an offer: of its source, or the class itself.

        It is the class itself where torch is there already, where the source does not tell, and where
        reading it fails: the import then says why.

        Raises:
            BadPlugin: see `import_class`.
        """
        if entry.kind not in CELL_KINDS or "torch" in sys.modules:
            return self.import_class(entry)
        from bench.contracts.declared import BY_KIND

        if entry not in self._declared:
            found = None
            try:
                with loading(entry.plugin, f"the import of {entry.target}"):
                    found = read_declarations(
                        entry.kind, entry.target, KINDS[entry.kind], BY_KIND[entry.kind]
                    )
            except BaseException as error:
                if is_from_user(error):
                    raise
            self._declared[entry] = found or self.import_class(entry)
        return self._declared[entry]

    def import_class(self, entry: Entry) -> type[Any]:
        """Import the class of an offer, a family's too.

        Raises:
            BadPlugin: it cannot be imported, or is not what its kind extends.
        """
        where = f"{entry.name} (of {entry.dist} {entry.version})"
        base = getattr(importlib.import_module("bench.api"), KINDS[entry.kind])
        try:
            with loading(entry.plugin, f"the import of {entry.target}"):
                cls = import_target(entry.target)
        except BaseException as error:
            if is_from_user(error):
                raise
            raise BadPlugin(
                f"{where}: {entry.target} cannot be imported ({one_line(error)}). "
                "Install what it needs, or see where it fails with `bench --traceback`."
            ) from error
        if not (isinstance(cls, type) and issubclass(cls, base)):
            raise BadPlugin(f"{where}: {entry.target} is not a bench.api.{base.__name__}. Extend that class.")
        return cls

    def _family_members(self, entries: Iterable[Entry], name: str) -> list[Entry]:
        families = [e for e in entries if e.family and name in self.family_names(e)]
        return [replace(e, name=name, family=False, member_of=e.name) for e in families]

    def _describe_unknown(self, kind: str, name: str, short: str, entries: Iterable[Entry]) -> str:
        if folder := self._describe_path(kind, name):
            return folder
        known: list[str] = []
        also: dict[str, str] = {}
        for entry in entries:
            if entry.family and entry.name == short:
                count = len(self.family_names(entry))
                return (
                    f"{short!r} is a family of {count:,} {kind}. Choose one with `bench list {kind} PATTERN`."
                )
            known += self.family_names(entry) if entry.family else (entry.name,)
            also |= dict.fromkeys(entry.also, entry.name)
        message = f"no {singular(kind)} is named {name!r}.{suggest(short, known, also=also)}"
        if "Known" not in message:
            message += f" See `bench list {kind}`."
        return message + self._explain_absence()

    def _describe_path(self, kind: str, name: str) -> str:
        """Return what to write where a path is named as a dataset, if that can be told."""
        readers = [entry.name for entry in self.entries(kind) if entry.of_folder]
        is_path = "/" in name or name.startswith(("~", ".")) or os.path.lexists(name)  # of any length
        if kind != "datasets" or not readers or not is_path:
            return ""
        return (
            f"no dataset is named {name!r}, which is a path. "
            f"Use --dataset {readers[0]} --set dataset.root={shlex.quote(name)}."
        )

    def _explain_absence(self) -> str:
        """Return why a name may be missing: plugins that failed or were disabled."""
        broken = dict.fromkeys(f.plugin.id for f in self.failures)
        blocked = [plugin.id for plugin in self.plugins if plugin.blocked]
        message = ""
        if broken:
            message += f" Failed to load: {', '.join(broken)} (see `bench plugins doctor`)."
        if blocked:
            message += f" Disabled: {', '.join(blocked)}."
        return message


def import_target(target: str) -> Any:
    """Import what `module:attribute` names."""
    module, _, attribute = target.partition(":")
    return functools.reduce(getattr, attribute.split("."), importlib.import_module(module))

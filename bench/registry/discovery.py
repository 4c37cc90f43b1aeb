"""Go through the installed distributions and collect what their plugins offer."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import re
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from importlib.metadata import Distribution, EntryPoint
from typing import Any

import pluggy

from bench import hookspecs
from bench.boundary import is_from_user
from bench.errors import LINE, BenchError, as_line, message_of, one_line, suggest
from bench.hookspecs import PRESETS, PROJECT, PUBLISHED, Family, Offer
from bench.plain_text import cut
from bench.registry.requirements import find_unmet
from bench.system.journal import LOAD, RUN, survived
from bench.system.process_state import kept_state

NAME_OF_PLUGIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")  # without what has a meaning: . : , /
_TARGET = re.compile(r"(\.+|\.*\w+(\.\w+)*):\w+(\.\w+)*")
PARTS = frozenset({"method", "backbone", "dataset", "train", "views"})  # of `--set PART.FIELD`

REQUIREMENTS = "requirements"  # the phase of a failure that another distribution mends
TRACEBACK_LINES = 60  # the last ones, which are kept
BUILT_IN = "ssl-bench"  # the distribution whose plugins come with bench
KINDS = {
    "methods": "Method",
    "backbones": "Backbone",
    "datasets": "Dataset",
    "evaluators": "Evaluator",
    "executors": "Executor",
    "formats": "TableFormat",
    "loggers": "Logger",
}  # and the class of `bench.api` that a plugin of the kind extends; its hook is `bench_` and the kind
HOOKS = tuple(name for name in vars(hookspecs) if name.startswith("bench_"))
OBSERVER_HOOKS = tuple(
    hook for hook in HOOKS if hook.removeprefix("bench_") not in KINDS and hook not in (PUBLISHED, PRESETS)
)
CELL_KINDS = ("methods", "backbones", "datasets", "evaluators")  # a cell has one of each: they have a Config


@dataclass(frozen=True)
class Plugin:
    """One entry point of one distribution.

    Args:
        dist: the distribution's name.
        version: the distribution's version.
        name: the entry point's name.
        module: what the entry point names.
        blocked: it was not imported because it is disabled.
    """

    dist: str
    version: str
    name: str
    module: str
    blocked: bool = False

    @property
    def id(self) -> str:
        """The name that no other plugin has."""
        return f"{self.dist}:{self.name}"

    @property
    def built_in(self) -> bool:
        """It came with bench itself."""
        return same_dist(self.dist, BUILT_IN)

    def answers_to(self, name: str) -> bool:
        """Tell whether `name` means this plugin: its entry point, distribution, or both."""
        dist, _, point = name.rpartition(":")
        if dist:
            return same_dist(dist, self.dist) and point == self.name
        return name == self.name or same_dist(name, self.dist)


@dataclass(frozen=True)
class Failure:
    """What went wrong with a plugin.

    Args:
        plugin: whose it is.
        phase: `metadata`, `requirements`, `import`, `register`, a hook's name, or `names` of a family.
        error: one line.
        traceback: all of it; empty where nothing was raised.
    """

    plugin: Plugin
    phase: str
    error: str
    traceback: str = ""


@dataclass(frozen=True)
class Entry:
    """One offer, its target made absolute.

    Args:
        kind: one of `KINDS`.
        name: its short name.
        plugin: whose offer it is.
        target: `module:attribute` of the class.
        summary: one sentence.
        family: it stands for many names, and is not itself one of them.
        names: `module:function` of a family's names.
        member_of: the family's name, of a name that one serves.
        group: as of `bench.hookspecs.Offer`.
        also: as of `bench.hookspecs.Offer`.
        of_folder: as of `bench.hookspecs.Offer`.
    """

    kind: str
    name: str
    plugin: Plugin
    target: str
    summary: str
    family: bool = False
    names: str = ""
    member_of: str = ""
    group: str = ""
    also: tuple[str, ...] = ()
    of_folder: bool = False

    @property
    def dist(self) -> str:
        """The distribution it came with."""
        return self.plugin.dist

    @property
    def version(self) -> str:
        """The distribution's version."""
        return self.plugin.version

    @property
    def full_name(self) -> str:
        """The name that no other offer of the kind has."""
        return f"{self.dist}:{self.name}"


@dataclass
class Discovery:
    """What the installed distributions offer, and what is wrong with them.

    Args:
        manager: holds the hook implementations, each plugin under its `id`.
        plugins: every entry point.
        registered: those whose hooks can be called.
        entries: every offer that is well formed.
        failures: what went wrong.
    """

    manager: pluggy.PluginManager
    plugins: list[Plugin] = field(default_factory=list)
    registered: list[Plugin] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    def hook_of(self, plugin: Plugin, hook: str) -> pluggy.HookCaller:
        """Return a hook of one plugin alone: what it raises stops no other plugin."""
        others = [p for name, p in self.manager.list_name_plugin() if name != plugin.id]
        return self.manager.subset_hook_caller(hook, others)


def discover(blocked: tuple[str, ...]) -> Discovery:
    """Import every plugin that is not blocked, and ask it what it offers."""
    discovery = Discovery(pluggy.PluginManager(PROJECT))
    discovery.manager.add_hookspecs(hookspecs)
    for plugin, point in _list_entry_points(discovery):
        if any(map(plugin.answers_to, blocked)):
            discovery.plugins.append(replace(plugin, blocked=True))
            continue
        discovery.plugins.append(plugin)
        if plugin.built_in or _check_requirements(discovery, plugin, point):
            _register(discovery, plugin, point)
    for plugin in discovery.registered:
        for kind in KINDS:
            _collect_offers(discovery, plugin, kind)
    return discovery


def has_foreign_points(blocked: tuple[str, ...]) -> bool:
    """Tell whether a plugin is installed, and not blocked, that did not come with bench; none is imported."""
    found = _list_entry_points(Discovery(pluggy.PluginManager(PROJECT)))
    return any(not plugin.built_in and not any(map(plugin.answers_to, blocked)) for plugin, _ in found)


@contextlib.contextmanager
def contain_failure(discovery: Discovery, plugin: Plugin, phase: str) -> Iterator[None]:
    """Turn whatever a plugin raises in the block into a `Failure`; the user's Ctrl-C goes through."""
    try:
        yield
    except BaseException as error:
        if is_from_user(error):
            raise
        discovery.failures.append(describe_failure(plugin, phase, error))


@contextlib.contextmanager
def loading(plugin: Plugin, what: str) -> Iterator[None]:
    """Note that a plugin is being loaded in the block; put back what one of others changed of the process.

    Args:
        plugin: which.
        what: part of it: `the import`, or a hook.

    Raises:
        BadPlugin: it ended an earlier process of this command there, or was not done in time.
    """
    named = f"{plugin.id}: {what}"
    with survived(named, RUN if plugin.built_in else LOAD):
        if plugin.built_in:
            yield
            return
        with kept_state(named):
            yield


def describe_failure(plugin: Plugin, phase: str, error: BaseException) -> Failure:
    """Return the record of an exception."""
    said = message_of(error) if isinstance(error, BenchError) else one_line(error)
    lines = "".join(traceback.format_exception(error)).splitlines()
    return Failure(
        plugin, phase, as_line(said), "\n".join(cut(line, LINE) for line in lines[-TRACEBACK_LINES:])
    )


def same_dist(one: str, other: str) -> bool:
    """Tell whether two spellings name one distribution (PEP 503)."""
    return _normalise_name(one) == _normalise_name(other)


def _normalise_name(dist: str) -> str:
    return re.sub(r"[-_.]+", "-", dist).lower()


def _list_entry_points(discovery: Discovery) -> Iterator[tuple[Plugin, EntryPoint]]:
    """Yield the group's entry points by distribution and name; a shadowed distribution's are not."""
    points: dict[str, list[tuple[Plugin, EntryPoint]]] = {}
    for dist in importlib.metadata.distributions():
        try:
            pairs = _read_entry_points(dist)
        except Exception as error:  # noqa: BLE001 - a damaged distribution must not hide the others
            discovery.failures.append(
                describe_failure(Plugin(str(dist.locate_file("")), "?", "?", "?"), "metadata", error)
            )
            continue
        if pairs and not _is_shadowed(dist):
            points.setdefault(_normalise_name(pairs[0][0].dist), pairs)
    for dist_name in sorted(points):
        yield from sorted(points[dist_name], key=lambda pair: pair[0].name)


def _is_shadowed(dist: Distribution) -> bool:
    """Tell whether another distribution of the name stands before this one on the path.

    Its modules are then the ones that are imported, so its entry points are the ones that hold: even if it
    has none any more.
    """
    try:
        first = importlib.metadata.distribution(dist.metadata["Name"])
    except importlib.metadata.PackageNotFoundError:  # its folder has another name than it says
        return False
    return first.locate_file("") != dist.locate_file("")


def _read_entry_points(dist: Distribution) -> list[tuple[Plugin, EntryPoint]]:
    if PROJECT not in (dist.read_text("entry_points.txt") or ""):  # parsing them all is slow
        return []
    name, version = dist.metadata["Name"], dist.version
    points = dist.entry_points.select(group=PROJECT)
    return [(Plugin(name, version, point.name, point.value), point) for point in points]


def _check_requirements(discovery: Discovery, plugin: Plugin, point: EntryPoint) -> bool:
    """Note which requirements of a plugin are not met; tell whether it may be imported all the same.

    A plugin for another bench may not: it would be called in another way than it expects.
    """
    if point.dist is None:
        return True
    unmet = list(find_unmet(point.dist))
    discovery.failures += (Failure(plugin, REQUIREMENTS, said) for _, said in unmet)
    return not any(same_dist(name, BUILT_IN) for name, _ in unmet)


def _register(discovery: Discovery, plugin: Plugin, point: EntryPoint) -> None:
    with contain_failure(discovery, plugin, "import"), loading(plugin, "the import"):
        module = point.load()
        with contain_failure(discovery, plugin, "register"):
            discovery.manager.register(module, plugin.id)
            mistakes = list(_find_mistaken_hooks(discovery, plugin, module))
            discovery.registered.append(plugin)
            discovery.failures += (Failure(plugin, "register", error) for error in mistakes)


def _find_mistaken_hooks(discovery: Discovery, plugin: Plugin, module: Any) -> Iterator[str]:
    """Yield what is wrong with a plugin's hooks: pluggy's `check_pending` stops at the first."""
    for caller in discovery.manager.get_hookcallers(module) or ():
        own = [impl for impl in caller.get_hookimpls() if impl.plugin is module]
        if not caller.has_spec() and not all(impl.optionalhook for impl in own):
            yield f"no hook is named {caller.name!r}.{suggest(caller.name, HOOKS)}"
    for name in HOOKS:
        if hasattr(module, name) and discovery.manager.parse_hookimpl_opts(module, name) is None:
            yield f"{name} is not marked as a hook. Write @hookimpl above it."


def _collect_offers(discovery: Discovery, plugin: Plugin, kind: str) -> None:
    """Add the offers of one hook call; what is wrong with one of them leaves the others."""
    hook = f"bench_{kind}"
    with contain_failure(discovery, plugin, hook), loading(plugin, hook):
        for offers in discovery.hook_of(plugin, hook)():
            for offer in offers:
                _add_offer(discovery, plugin, kind, offer)


def _add_offer(discovery: Discovery, plugin: Plugin, kind: str, offer: Any) -> None:
    problem = _find_problem(discovery, plugin, kind, offer)
    if not problem:
        try:
            discovery.entries.append(_make_entry(plugin, kind, offer, _find_package(plugin)))
        except ImportError:
            problem = f"{offer.name!r}: {offer.target!r} leads out of the package. Use 'module:attribute'."
    if problem:
        discovery.failures.append(Failure(plugin, f"bench_{kind}", problem))


def _find_problem(discovery: Discovery, plugin: Plugin, kind: str, offer: Any) -> str:
    """Return what is wrong with an offer, or nothing."""
    if not isinstance(offer, (Offer, Family)):
        return f"{offer!r} is not an Offer or a Family."
    if not isinstance(offer.name, str) or not NAME_OF_PLUGIN.fullmatch(offer.name):
        return f"{offer.name!r} cannot be a name. Use letters, digits, - and _."
    if kind == "evaluators" and offer.name in PARTS:
        return f"{offer.name!r} is a part of `--set` already. Choose another name."
    if any(
        e.kind == kind and e.name == offer.name and same_dist(e.dist, plugin.dist) for e in discovery.entries
    ):
        return f"{offer.name!r} is offered twice by this distribution. The first offer is used."
    also: Any = getattr(offer, "also", ())
    if isinstance(also, str):  # of which each letter would be a name
        return f"{offer.name!r}: also is a text. Write a tuple of names."
    targets = (offer.target, offer.names) if isinstance(offer, Family) else (offer.target,)
    for target in targets:
        if not isinstance(target, str) or not _TARGET.fullmatch(target):
            return f"{offer.name!r}: {target!r} is not a target. Use 'module:attribute'."
    return ""


def _find_package(plugin: Plugin) -> str:
    """Return the package that a leading dot stands for: the plugin's own, or the one it is in."""
    module = importlib.import_module(plugin.module.partition(":")[0])
    return module.__name__ if hasattr(module, "__path__") else module.__package__ or ""


def _make_entry(plugin: Plugin, kind: str, offer: Offer | Family, package: str) -> Entry:
    names = _make_absolute(offer.names, package) if isinstance(offer, Family) else ""
    entry = Entry(kind, offer.name, plugin, _make_absolute(offer.target, package), offer.summary, names=names)
    if isinstance(offer, Family):
        return replace(entry, family=True)
    return replace(entry, group=offer.group, also=tuple(offer.also), of_folder=offer.of_folder)


def _make_absolute(target: str, package: str) -> str:
    module, _, attribute = target.partition(":")
    return f"{importlib.util.resolve_name(module, package)}:{attribute}"

"""Run the conformance kit on a plugin by its name, for `bench plugins check`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.config import format_value
from bench.contracts.backbone import Backbone
from bench.contracts.dataset import DataLocation
from bench.contracts.dataset_info import ROOT
from bench.errors import BadValue, UnknownName, suggest
from bench.planning.open_datasets import Datasets
from bench.planning.options import merge_options
from bench.planning.plugin_choices import PluginChoices
from bench.registry.presets import slots_of
from bench.registry.registry import CHECKED_KINDS, Entry, Registry, singular
from bench.testing import Outcome, check
from bench.testing.networks import SIDE
from bench.testing.subject import Network


@dataclass(frozen=True)
class Verdict:
    """What came of a check of a plugin.

    Args:
        kind: of the plugin, e.g. `method`.
        plugin: its name.
        outcome: of the check.
    """

    kind: str
    plugin: str
    outcome: Outcome

    def as_json(self) -> dict[str, str | None]:
        """Return it as plain data."""
        reason = self.outcome.error if self.outcome.error is not None else self.outcome.skipped
        return {
            "kind": self.kind,
            "plugin": self.plugin,
            "check": self.outcome.name,
            "state": self.outcome.state.lower(),
            "reason": reason,
        }


@dataclass(frozen=True)
class Report:
    """What came of all checks of a plugin.

    Args:
        verdicts: of each.
    """

    verdicts: Sequence[Verdict]

    def count(self, state: str) -> int:
        """Return how many are of a state."""
        return sum(verdict.outcome.state == state for verdict in self.verdicts)

    @property
    def passed(self) -> bool:
        """Whether something was checked, and nothing failed."""
        return not self.count("FAILED") and self.count("ok") > 0

    @property
    def text(self) -> str:
        """Return the last line of what a person reads."""
        counts = f"{self.count('ok')} ok, {self.count('FAILED')} failed, {self.count('skipped')} skipped."
        nothing = not self.count("ok") and not self.count("FAILED")
        return f"{counts} Nothing was checked, which is a failure." if nothing else counts

    def as_json(self) -> str:
        """Return all of it as a JSON document."""
        counts = {state.lower(): self.count(state) for state in ("ok", "FAILED", "skipped")}
        checks = [verdict.as_json() for verdict in self.verdicts]
        return json.dumps({"passed": self.passed, **counts, "checks": checks}, indent=1)


def format_verdict(verdict: Verdict, *, alone: bool) -> str:
    """Return the line of a check; of several plugins of one name it says which.

    Args:
        verdict: of the check.
        alone: there is one plugin of the name.
    """
    outcome = verdict.outcome
    reason = outcome.error if outcome.error is not None else outcome.skipped
    which = "" if alone else f"{verdict.kind} {verdict.plugin}: "
    return f"{outcome.state:<8}{which}{outcome.name}" + (f": {reason}" if reason is not None else "")


def list_checked(registry: Registry, name: str, kind: str | None) -> list[Entry]:
    """Return what is to be checked under a name.

    Args:
        registry: where to look.
        name: of a plugin.
        kind: only of this one, in the plural.

    Raises:
        UnknownName: nothing is offered under that name.
        BadValue: nothing is checked of that kind.
    """
    if kind is None:
        return registry.find_anywhere(name)
    if kind not in CHECKED_KINDS:
        word, known = singular(kind), map(singular, CHECKED_KINDS)
        raise BadValue(f"--kind {word}: there are no checks of it.{suggest(word, known)}")
    return [registry.find(kind, name)]


def check_plugins(
    registry: Registry,
    entries: Sequence[Entry],
    settings: Sequence[str] = (),
    data_dir: Path | None = None,
    backbone: str | None = None,
) -> Iterator[Verdict]:
    """Yield what comes of each check of some plugins, as it is done.

    Args:
        registry: where they are.
        entries: of one name.
        settings: `PART.FIELD=VALUE` each; the part is a kind, the name of a plugin, or `backbone`.
        data_dir: where the files of a dataset are; none where they are not to be had.
        backbone: that methods are checked on; none is the small ones of the kit, or the one that a method
            goes with.

    Raises:
        UsageError: a setting, the backbone or the plugin cannot be used.
    """
    read = _read_settings(settings)
    kinds = {entry.kind for entry in entries}
    _refuse_what_applies_to_none(kinds, data_dir, backbone)
    plugins = PluginChoices(registry, Datasets(registry))
    parts = {word for entry in entries for word in (singular(entry.kind), entry.name)}
    parts |= {"backbone", backbone} if backbone else set()
    _refuse_unknown_parts(read, parts)
    for entry in entries:
        cls, options = registry.import_class(entry), _Options(plugins, read, data_dir, backbone)
        kind = singular(entry.kind)
        for outcome in check(entry.kind, cls, entry.name, **options.of(entry, cls)):
            yield Verdict(kind, entry.name, outcome)


def _read_settings(texts: Sequence[str]) -> dict[str, Any]:
    """Return settings by their names, one value each."""
    read = {}
    for name, values in merge_options(None, {"set": tuple(texts)}).settings.items():
        if len(values) > 1:
            raise BadValue(
                f"--set {name}: it has {len(values)} values. Check one at a time; a list is [A,B]."
            )
        read[name] = values[0]
    return read


def _refuse_what_applies_to_none(kinds: Iterable[str], data_dir: Path | None, backbone: str | None) -> None:
    if backbone and "methods" not in kinds:
        raise BadValue(f"--backbone {backbone}: no method is checked. Leave it out.")
    if data_dir and "datasets" not in kinds:
        raise BadValue(f"--data-dir {data_dir}: no dataset is checked. Leave it out.")


def _refuse_unknown_parts(settings: Mapping[str, Any], parts: Iterable[str]) -> None:
    for name in settings:
        part = name.partition(".")[0]
        if part not in parts:
            raise UnknownName(
                f"--set {name}: nothing that is checked is named {part!r}.{suggest(part, parts)}"
            )


@dataclass(frozen=True)
class _Options:
    """What the checks of a plugin are to know beside its class.

    Args:
        plugins: which configures it.
        settings: by their names.
        data_dir: as of `check_plugins`.
        backbone: as of `check_plugins`.
    """

    plugins: PluginChoices
    settings: Mapping[str, Any]
    data_dir: Path | None
    backbone: str | None

    def of(self, entry: Entry, cls: type[Any]) -> dict[str, Any]:
        """Return them as arguments of `check`."""
        config, root = self._configure(entry.kind, entry.name, singular(entry.kind))
        options: dict[str, Any] = {"config": config}
        if entry.kind == "datasets" and (root or self.data_dir):
            options["location"] = DataLocation(root=root, data_dir=self.data_dir or DataLocation().data_dir)
        if entry.kind == "methods" and (name := self.backbone or cls.fixed_backbone):
            options["networks"] = (self._network(name),)
        return options

    def _configure(self, kind: str, name: str, role: str) -> tuple[Any, Path | None]:
        """Return the config of a plugin and the folder that is set for it; no config where nothing is set."""
        own = {
            setting: value
            for setting, value in self.settings.items()
            if setting.partition(".")[0] in (role, name)
        }
        config = self.plugins.plugin(kind, name).Config
        fields, slots = config.__dataclass_fields__, slots_of(kind, config)
        for setting, value in own.items():
            field = setting.partition(".")[2]
            if field in slots and kind == "methods":
                raise BadValue(f"--set {setting}: a method is checked with its own {field}. Leave it out.")
            if field not in (*fields, *slots) and not (kind == "datasets" and field == ROOT):
                raise UnknownName(
                    f"--set {setting}={format_value(value)}: {name} has no setting named {field!r}."
                    f"{suggest(field, fields)}"
                )
        choice = self.plugins.configure(kind, name, role, own)
        return (choice.config if own.keys() - {f"{role}.{ROOT}", f"{name}.{ROOT}"} else None), choice.root

    def _network(self, name: str) -> Network:
        """Return a backbone that methods are checked on."""
        cls = self.plugins.registry.load_class("backbones", name)
        config = self._configure("backbones", name, "backbone")[0] or cls.Config()

        def build(channels: int) -> Backbone:
            cls.check(name, config, channels, SIDE)
            backbone: Backbone = cls(name, config, channels, SIDE)
            return backbone

        return Network(name, build)

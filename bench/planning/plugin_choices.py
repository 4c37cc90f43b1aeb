"""The plugins of a grid: each loaded, configured and checked once, however many cells have it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from bench.boundary import Contained, is_fault_of_plugin, plugin_call, why_refused
from bench.config import NoSettings, build, identity
from bench.contracts.dataset_info import NAME, ROOT
from bench.contracts.presets import DEFAULT, NamedProtocol, value_of
from bench.errors import BadData, BadValue
from bench.planning.cells import PluginChoice
from bench.planning.open_datasets import Datasets
from bench.planning.settings import own_settings
from bench.registry.presets import find_preset, slots_of
from bench.registry.registry import Registry
from bench.splits import selection
from bench.splits import stratified as splits
from bench.splits.amounts import LabelAmount
from bench.splits.grouped import labelled_splits, number_groups, pool_groups
from bench.splits.order import Index

if TYPE_CHECKING:
    from bench.contracts.backbone import Normalisation
    from bench.contracts.dataset_info import DatasetInfo
    from bench.contracts.evaluator import Evaluator
    from bench.contracts.recipe import Training


class PluginChoices:
    """The plugins that cells are put together from; what cells have in common is worked out once.

    Args:
        registry: of plugins.
        datasets: where datasets are opened.
        auto_precision: what `auto` is on the device at hand, for a plugin whose Config has a `precision`.
        declared: take of each class what it declares, which costs no import of torch; no key is made of it.
    """

    def __init__(
        self,
        registry: Registry,
        datasets: Datasets,
        auto_precision: str = "float32",
        *,
        declared: bool = False,
    ) -> None:
        self._load = registry.declared if declared else registry.load_class
        self.registry, self.datasets, self.auto_precision = registry, datasets, auto_precision
        self.memo: dict[Any, Any] = {}

    def plugin(self, kind: str, name: str) -> Any:
        """Return the class of a plugin, each call of which is contained."""

        def contain() -> Contained:
            is_own = self.registry.find(kind, name).plugin.built_in
            return Contained(self._load(kind, name), name, is_own=is_own)

        return self.remember(("class", kind, name), contain)

    def choose(self, kind: str, name: str, role: str, settings: Mapping[str, Any]) -> PluginChoice:
        """Return a plugin with what `settings` say of its role (`method.x`) or its name (`simclr.x`)."""
        values, root = self._values_and_root(kind, name, role, settings)
        title, presets = self._title(kind, name, role, settings), self._presets(kind, name, role, settings)
        memo = ("choice", kind, name, repr(sorted(values.items())), root, title, repr(presets))
        choice = self.remember(memo, lambda: self._identify(self.configure(kind, name, role, settings)))
        return cast("PluginChoice", choice)

    def configure(self, kind: str, name: str, role: str, settings: Mapping[str, Any]) -> PluginChoice:
        """Return a plugin as `choose` does, but without its identity: no data is opened."""
        values, root = self._values_and_root(kind, name, role, settings)
        with plugin_call(f"{name}: Config()"):
            config = self._resolve_precision(build(self.plugin(kind, name).Config, values, name))
        return PluginChoice(
            kind=kind,
            name=name,
            config=config,
            identity={},
            root=Path(str(root)).expanduser() if root is not None else None,
            title=self._title(kind, name, role, settings),
            presets=self._presets(kind, name, role, settings) if kind == "methods" else {},
        )

    def _presets(self, kind: str, name: str, role: str, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values that stand in place of a plugin's own, by slot, as presets that were asked for.

        Raises:
            UnknownName: it has none of that name, or more than one.
        """
        cls, found = self.plugin(kind, name), {}
        for slot in slots_of(kind, cls.Config):
            asked = settings.get(f"{name}.{slot}", settings.get(f"{role}.{slot}", DEFAULT))
            if asked != DEFAULT and not (kind == "methods" and cls.recipe is None):
                owner = self.registry.find(kind, name).name
                where = f"--set {role if f'{name}.{slot}' not in settings else name}.{slot}"
                entry = find_preset(self.registry.presets(), kind, owner, slot, asked, where)
                found[slot] = value_of(entry.preset)
                if isinstance(entry.preset, NamedProtocol):
                    with plugin_call(f"{name}: Config()"):
                        build(cls.Config, entry.preset.settings, f"{entry.full_name}: {name}")
        return found

    def _resolve_precision(self, config: Any) -> Any:
        """Return a config whose `precision` is no longer `auto` where that is not float32: it is in keys."""
        if getattr(config, "precision", None) != "auto" or self.auto_precision == "float32":
            return config
        return dataclasses.replace(config, precision=self.auto_precision)

    def _values_and_root(
        self, kind: str, name: str, role: str, settings: Mapping[str, Any]
    ) -> tuple[dict[str, Any], Any]:
        """Return a plugin's own settings, and the folder of its files if one is set."""
        values = own_settings(self.plugin(kind, name).Config, role, name, settings)
        values = {**self._presets(kind, name, role, settings).get("protocol", {}), **values}
        return values, settings.get(f"{name}.{ROOT}", settings.get(f"{role}.{ROOT}"))

    def _title(self, kind: str, name: str, role: str, settings: Mapping[str, Any]) -> str:
        """Return what a dataset is to be called, if that is set; a plugin's own field goes before it."""
        if kind != "datasets" or any(
            f.name == NAME for f in dataclasses.fields(self.plugin(kind, name).Config)
        ):
            return ""
        title = settings.get(f"{name}.{NAME}", settings.get(f"{role}.{NAME}"))
        return "" if title is None else str(title)

    def why_unsupported(self, backbone: PluginChoice, channels: int, size: int) -> str | None:
        """Return why a backbone cannot work on images of this size, if it cannot."""

        def check() -> None:
            self.plugin("backbones", backbone.name).check(backbone.name, backbone.config, channels, size)

        memo = ("check", backbone.key, channels, size)
        return cast("str | None", self.remember(memo, lambda: why_refused(check)))

    def why_size_unsupported(
        self, backbone: PluginChoice, channels: int, image_size: int, size: int
    ) -> str | None:
        """Return why a backbone that is built for `image_size` cannot take a view of `size`, if it cannot."""

        def check() -> None:
            cls = self.plugin("backbones", backbone.name)
            cls.check_size(backbone.name, backbone.config, channels, image_size, size)

        memo = ("check size", backbone.key, channels, image_size, size)
        return cast("str | None", self.remember(memo, lambda: why_refused(check)))

    def backbone_notes(self, backbone: PluginChoice, channels: int, size: int) -> tuple[str, ...]:
        """Return what a user should know of how a backbone is built for images of this size."""
        cls = self.plugin("backbones", backbone.name)
        memo = ("notes", backbone.key, channels, size)
        notes = self.remember(memo, lambda: tuple(cls.notes(backbone.name, backbone.config, channels, size)))
        return cast("tuple[str, ...]", notes)

    def normalisation(self, backbone: PluginChoice, channels: int) -> Normalisation | None:
        """Return what the weights that a backbone starts from expect of images, if they say it."""

        def find() -> Normalisation | None:
            cls = self.plugin("backbones", backbone.name)
            found: Normalisation | None = cls.normalisation(backbone.name, backbone.config, channels)
            return found

        memo = ("normalisation", backbone.key, channels)
        return cast("Normalisation | None", self.remember(memo, find))

    def why_method_refuses(
        self, method: PluginChoice, backbone: PluginChoice, dataset: PluginChoice, size: int
    ) -> str | None:
        """Return why a method cannot work with a backbone on images of this size, if it cannot.

        Raises:
            BadValue: the method's config cannot work on any.
        """

        def check() -> None:
            data = self.training_info(method, dataset)
            family = self.plugin("backbones", backbone.name)
            info = family.about(backbone.name, backbone.config, data.channels, size)
            self.plugin("methods", method.name).check(method.config, info, data, size)

        memo = ("method check", method.key, backbone.key, dataset.key, dataset.root, size)
        return cast("str | None", self.remember(memo, lambda: why_refused(check)))

    def why_training_refused(
        self, method: PluginChoice, training: Training | None, dataset: PluginChoice
    ) -> str | None:
        """Return why a method cannot do its training, if it has one and cannot.

        Raises:
            BadValue: the method's config can do none.
        """
        if training is None:
            return None
        cls, data = self.plugin("methods", method.name), self.training_info(method, dataset)
        return why_refused(lambda: cls.check_training(method.config, training, data))

    def training_info(self, method: PluginChoice, dataset: PluginChoice) -> DatasetInfo:
        """Return what a method is told of a dataset: with its number of images, if anything is trained."""
        cls = self.plugin("methods", method.name)

        def find() -> DatasetInfo:
            if cls.recipe is None:
                info: DatasetInfo = self.datasets.open(dataset).info
                return info
            return self.datasets.training_info(dataset, uses_labels=cls.uses_labels)

        memo = ("training info", method.name, dataset.key, dataset.root)
        return cast("DatasetInfo", self.remember(memo, find))

    def refuse_unknown_layers(self, backbone: PluginChoice) -> None:
        """Refuse a decay from layer to layer on a backbone that does not say its layers.

        Raises:
            BadValue: its class does not.
        """
        from bench.contracts.backbone import Backbone

        if self.registry.load_class("backbones", backbone.name).parameter_layers is Backbone.parameter_layers:
            raise BadValue(
                f"train.layer_decay: {backbone.name} does not say the layers of its parameters. Set it to 1."
            )

    def labels(self, data: PluginChoice, split: str) -> Index:
        """Return the labels of a split."""
        memo = ("labels", data.key, data.root, split)
        labels = self.remember(
            memo, lambda: np.asarray(self.datasets.open(data).labels(split), dtype=np.int64)
        )
        return cast("Index", labels)

    def groups(self, data: PluginChoice) -> Index | None:
        """Return the groups of all images of train and val, (n,); none where each stands alone."""
        memo = ("groups", data.key, data.root)
        return cast("Index | None", self.remember(memo, lambda: pool_groups(self.datasets.open(data))))

    def groups_digest(self, data: PluginChoice) -> str | None:
        """Return the digest of which images of train and val are in a group with which; none has none."""
        groups = self.groups(data)
        return None if groups is None else splits.index_digest(number_groups(groups))

    def pool(self, data: PluginChoice) -> Index:
        """Return the labels of train and val, one after the other."""
        parts = [self.labels(data, split) for split in labelled_splits(self.datasets.open(data).splits)]
        return np.concatenate(parts)

    def training_subset(self, data: PluginChoice, amount: LabelAmount, seed: int) -> tuple[int, str]:
        """Return how many labels an amount gives to train with, and the digest of which; see `subset`."""

        def draw() -> tuple[int, str]:
            classes = self.datasets.open(data).info.classes
            groups = self.groups(data)
            index = splits.stratified_subset(self.pool(data), amount, seed, data.name, classes, groups)
            return len(index), splits.index_digest(index)

        memo = ("training subset", data.key, data.root, amount, seed)
        return cast("tuple[int, str]", self.remember(memo, draw))

    def subset(self, data: PluginChoice, amount: LabelAmount, seed: int) -> tuple[int, str]:
        """Return how many labels of train and val an amount gives, and the digest of which.

        Raises:
            BadData: nothing can be evaluated with the labels that there are.
            Unsupported: it leaves a class without an image.
        """

        def draw() -> tuple[int, str]:
            pool, test = self.pool(data), self.labels(data, "test")
            if not ((pool >= 0).any() and len(test) and test.min() >= 0):
                counts = f"{(pool >= 0).sum()} training and {(test >= 0).sum()} of {len(test)} test images"
                raise BadData(
                    f"{data.name}: there are labels of {counts}. Evaluate on another --eval-dataset."
                )
            classes = self.datasets.open(data).info.classes
            for split, labels in (("training", pool), ("test", test)):
                refuse_unfit(data.name, split, labels, classes)
            return self.training_subset(data, amount, seed)

        memo = ("subset", data.key, data.root, amount, seed)
        return cast("tuple[int, str]", self.remember(memo, draw))

    def choose_anyhow(self, kind: str, name: str, role: str, settings: Mapping[str, Any]) -> PluginChoice:
        """Return a plugin as far as it can be configured, for the record of a cell whose plan failed."""
        unknown = PluginChoice(kind=kind, name=name, config=NoSettings(), identity={"config": {}})
        try:
            choice = self.configure(kind, name, role, settings)
            return dataclasses.replace(choice, identity=self._identify_class(choice))
        except Exception as error:
            if not is_fault_of_plugin(error):
                raise
            return unknown

    def _identify(self, choice: PluginChoice) -> PluginChoice:
        """Return the choice with what a key hashes of it; a dataset is opened for its fingerprint."""
        hashed = self._identify_class(choice)
        if choice.kind != "datasets":
            return dataclasses.replace(choice, identity=hashed)
        data = self.datasets.open(choice)
        hashed["fingerprint"] = data.fingerprint()
        return dataclasses.replace(
            choice, identity=hashed, title=choice.title or data.title, content=data.content()
        )

    def _identify_class(self, choice: PluginChoice) -> dict[str, Any]:
        """Return what a key hashes of a plugin whatever its data is."""
        cls, entry = self.plugin(choice.kind, choice.name), self.registry.find(choice.kind, choice.name)
        hashed = {
            "dist": entry.dist,
            "name": choice.name.rpartition(":")[2],
            "version": cls.version,
            "config": identity(choice.config),
        }
        if choice.kind == "evaluators" and (used := _identify_used(cls.uses(choice.config))):
            hashed["uses"] = used
        return hashed

    def remember(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return what `make` returned when it was first called for `key`."""
        if key not in self.memo:
            self.memo[key] = make()
        return self.memo[key]


def _identify_used(evaluators: Mapping[str, Evaluator]) -> dict[str, Any]:
    """Return what a key hashes of evaluators that another one fits, and of those that they fit, by name."""
    hashed = {}
    for name, one in evaluators.items():
        used = _identify_used(one.uses(one.config))
        inside = {"uses": used} if used else {}
        hashed[name] = {"version": one.version, "config": identity(one.config), **inside}
    return hashed


def refuse_unfit(where: str, split: str, labels: Index, classes: Sequence[str]) -> None:
    """Refuse labels that are not those of all classes.

    Args:
        where: the dataset's name.
        split: `training` or `test`.
        labels: (n,), -1 where there is none.
        classes: the classes' names.

    Raises:
        BadData: a label is out of range, or a class has no image.
    """
    selection.refuse_outside(labels, len(classes), where, split, least=-1)
    present = set(np.unique(labels).tolist())
    absent = [name for label, name in enumerate(classes) if label not in present]
    if absent:
        raise BadData(
            f"{where}: there is no {split} image of {splits.some(absent)}. "
            "Add some, or leave these classes out with dataset.classes."
        )

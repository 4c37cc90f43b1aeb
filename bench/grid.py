"""From what was asked to cells: every combination, resolved, keyed, and checked before training.

A cell is one point of the grid. Its stages form a chain of keys, each a digest of what the stage is
told and of the key before it: so a backbone is trained once and evaluated many times, and a changed
evaluator retrains nothing.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench import splits
from bench.config import build, identity
from bench.errors import BadValue, UnknownName, Unsupported, suggest
from bench.keys import digest
from bench.recipe import TrainConfig, Training, resolve
from bench.registry import Registry, singular

PARTS = ("method", "backbone", "dataset", "eval_dataset", "train", "views")
SMALLEST_IMAGE = 16  # pixels: smaller data is enlarged, or a network has nothing left to convolve
ROOT = "root"  # a setting of every dataset that says where it is, not what it is


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was asked for; every tuple is an axis of the grid.

    Args:
        method: names.
        backbone: names.
        dataset: names of what is trained on.
        evaluator: names.
        label_frac: shares of the labels, in (0, 1].
        eval_dataset: names of what is evaluated on; none is the dataset that was trained on.
        seed: of training and evaluation.
        settings: `part.field` to the values it takes.
        auto_precision: what `precision=auto` is on the device at hand.
    """

    method: tuple[str, ...] = ("simclr",)
    backbone: tuple[str, ...] = ("resnet10t",)
    dataset: tuple[str, ...] = ("digits",)
    evaluator: tuple[str, ...] = ("linear",)
    label_frac: tuple[float, ...] = (1.0,)
    eval_dataset: tuple[str, ...] = ()
    seed: tuple[int, ...] = (0,)
    settings: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    auto_precision: str = "float32"


@dataclass(frozen=True, kw_only=True)
class Part:
    """A plugin that was chosen, with its settings resolved.

    Args:
        kind: `methods`, `backbones`, `datasets` or `evaluators`.
        name: as it was asked for.
        config: a `Config` of its class.
        identity: what a key hashes of it.
        root: of a dataset, the folder that was given.
    """

    kind: str
    name: str
    config: Any
    identity: Mapping[str, Any]
    root: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Keys:
    """The chain of a cell: `features` by split."""

    backbone: str
    features: Mapping[str, str]
    score: str


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One point of the grid, with everything resolved.

    Args:
        training: none where nothing is trained.
        views: resolved, empty where nothing is trained.
        image_size: that the backbone sees.
        settings: what was set explicitly and applies to this cell, by its `--set` name.
        skip: why this combination cannot work, if it cannot.
    """

    method: Part
    backbone: Part
    dataset: Part
    eval_dataset: Part
    evaluator: Part
    label_frac: float
    seed: int
    training: Training | None
    views: tuple[Any, ...]
    image_size: int
    settings: Mapping[str, Any]
    keys: Keys
    skip: str | None = None

    @property
    def trained(self) -> str:
        """How progress and errors name the backbone."""
        return f"{self.method.name} {self.backbone.name} {self.dataset.name} seed {self.seed}"

    @property
    def names(self) -> dict[str, Any]:
        """The cell's place in the store and in tables."""
        return {
            "method": self.method.name,
            "backbone": self.backbone.name,
            "dataset": self.dataset.name,
            "eval_dataset": self.eval_dataset.name,
            "evaluator": self.evaluator.name,
            "label_frac": self.label_frac,
            "seed": self.seed,
        }


class Datasets:
    """The datasets of a request, each opened once.

    Args:
        registry: of plugins.
        data_dir: where downloads are kept.
        download: what is missing may be downloaded.
    """

    def __init__(self, registry: Registry, data_dir: Path = Path("data"), *, download: bool = False) -> None:
        self.registry, self.data_dir, self.download = registry, data_dir, download
        self.opened: dict[tuple[str, str, Path | None], Any] = {}

    def open(self, part: Part) -> Any:
        """Return the `bench.contract.Dataset` of a part.

        Raises:
            BadData: its files are missing or cannot be used.
        """
        key = (part.name, repr(part.config), part.root)
        if key not in self.opened:
            from bench.contract import Place

            place = Place(root=part.root, data_dir=self.data_dir, download=self.download)
            cls = self.registry.load_class("datasets", part.name)
            self.opened[key] = cls(part.name, part.config, place)
        return self.opened[key]


def plan(request: Request, registry: Registry, datasets: Datasets) -> list[Cell]:
    """Return the cells of a request in the order of its axes, each once, those of a backbone together.

    Raises:
        UsageError: something cannot be done whatever the combination; found here, before any
            training.
        Unsupported: the request is one combination, and it cannot work.
    """
    planner = Planner(request, registry, datasets)
    planner.check_names()
    cells = {cell.keys.score: cell for cell in planner.cells()}
    if cells and all(cell.skip for cell in cells.values()):
        raise BadValue(next(str(cell.skip) for cell in cells.values()))
    together = {key: number for number, key in enumerate(dict.fromkeys(c.keys.backbone for c in cells.values()))}
    return sorted(cells.values(), key=lambda cell: together[cell.keys.backbone])


class Planner:
    """The grid of one request; what cells have in common is worked out once."""

    def __init__(self, request: Request, registry: Registry, datasets: Datasets) -> None:
        self.request, self.registry, self.datasets = request, registry, datasets
        self.memo: dict[Any, Any] = {}

    # ---- what was asked

    def check_names(self) -> None:
        """Refuse names and settings that fit nothing, before anything is opened."""
        request = self.request
        chosen = {
            "methods": request.method,
            "backbones": request.backbone,
            "datasets": (*request.dataset, *request.eval_dataset),
            "evaluators": request.evaluator,
        }
        for kind, names in chosen.items():
            if not names:
                raise BadValue(f"{singular(kind)}: none was named. Name at least one.")
            for name in names:
                self._class(kind, name)
        for fraction in request.label_frac:
            if not 0 < fraction <= 1:
                raise BadValue(f"label-frac: {fraction:g} is out of range. Use more than 0 and at most 1.")
        known = {*PARTS, *(name for names in chosen.values() for name in names)}
        for setting in request.settings:
            part, dot, name = setting.partition(".")
            if not dot or not name:
                raise BadValue(f"--set: {setting!r} is not PART.FIELD=VALUE. Parts: {', '.join(PARTS)}.")
            if part not in known:
                raise UnknownName(f"--set {setting}: nothing chosen is named {part!r}.{suggest(part, known)}")
            self._check_field(part, name, setting)

    def _check_field(self, part: str, name: str, setting: str) -> None:
        """Refuse a field that none of the chosen plugins it could belong to has."""
        if part == "views" or name == ROOT:
            return
        configs = [TrainConfig] if part == "train" else [c.Config for c in self._classes_of(part)]
        fields = {f.name for config in configs for f in dataclasses.fields(config)}
        if name not in fields:
            known = suggest(name, fields) or " It has nothing to set."
            raise UnknownName(f"--set {setting}: {part} has no setting named {name!r}.{known}")

    def _classes_of(self, part: str) -> list[Any]:
        request = self.request
        by_part = {
            "method": ("methods", request.method),
            "backbone": ("backbones", request.backbone),
            "dataset": ("datasets", request.dataset),
            "eval_dataset": ("datasets", request.eval_dataset or request.dataset),
        }
        if part in by_part:
            kind, names = by_part[part]
            return [self._class(kind, name) for name in names]
        everywhere = {
            "methods": request.method,
            "backbones": request.backbone,
            "datasets": (*request.dataset, *request.eval_dataset),
            "evaluators": request.evaluator,
        }
        return [self._class(kind, part) for kind, names in everywhere.items() if part in names]

    def _class(self, kind: str, name: str) -> Any:
        return self._once(("class", kind, name), lambda: self.registry.load_class(kind, name))

    def _once(self, key: Any, make: Any) -> Any:
        if key not in self.memo:
            self.memo[key] = make()
        return self.memo[key]

    # ---- the cells

    def cells(self) -> Iterator[Cell]:
        """Yield every combination, those that share a backbone one after the other."""
        request = self.request
        names, values = list(request.settings), request.settings.values()
        for point in itertools.product(*values):
            settings = dict(zip(names, point, strict=True))
            trained = itertools.product(request.dataset, request.backbone, request.method, request.seed)
            for dataset, backbone, method, seed in trained:
                source = self._backbone(method, backbone, dataset, seed, settings)
                evaluated = itertools.product(
                    request.eval_dataset or (dataset,), request.evaluator, request.label_frac
                )
                for eval_dataset, evaluator, fraction in evaluated:
                    yield self._cell(source, eval_dataset, evaluator, fraction, seed, settings)

    def _backbone(
        self, method: str, backbone: str, dataset: str, seed: int, settings: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return what a cell says of its backbone: parts, training, views, key."""
        data = self._part("datasets", dataset, "dataset", settings)
        info = self.datasets.open(data).info
        parts = {
            "method": self._part("methods", method, "method", settings),
            "backbone": self._part("backbones", backbone, "backbone", settings),
            "dataset": data,
        }
        train = build(TrainConfig, self._values(TrainConfig, "train", "train", settings), "train")
        size = train.image_size or max(SMALLEST_IMAGE, info.size)
        training, views = self._training(parts["method"], data, train, size, settings)
        told = {
            "stage": "backbone",
            **{role: part.identity for role, part in parts.items()},
            "training": asdict(training) if training else {"image_size": size},
            "views": [asdict(view) for view in views],
            "seed": seed,
        }
        return {
            **parts,
            "training": training,
            "views": views,
            "image_size": size,
            "key": digest(told),
            "skip": self._unsupported(parts["backbone"], info.channels, size),
        }

    def _training(
        self, method: Part, data: Part, train: TrainConfig, size: int, settings: Mapping[str, Any]
    ) -> tuple[Training | None, tuple[Any, ...]]:
        cls, dataset = self._class("methods", method.name), self.datasets.open(data)
        if cls.recipe is None:
            return None, ()
        images = len(self._labels(data, "train"))
        if images < train.batch_size:
            raise BadValue(
                f"train.batch_size: a step takes {train.batch_size} images, but {data.name} has {images} "
                f"to train on. Set --batch-size to at most {images}."
            )
        if cls.uses_labels and self._labels(data, "train").min() < 0:
            raise BadValue(f"{method.name}: it needs labels, but not every image of {data.name} has one.")
        auto = train.precision == "auto"
        precision = self.request.auto_precision if auto else train.precision
        changed = self._values(None, "views", "views", settings)
        views = tuple(
            build(type(view), {**asdict(view), **changed}, "views")
            for view in cls.views(method.config, dataset.info, size)
        )
        kept = tuple(view.label_preserving(dataset.info) for view in views)
        return resolve(cls.recipe, train, size, precision), kept

    def _unsupported(self, backbone: Part, channels: int, size: int) -> str | None:
        """Return why this backbone cannot work on these images, if it cannot."""

        def check() -> str | None:
            cls = self._class("backbones", backbone.name)
            try:
                cls.check(backbone.name, backbone.config, channels, size)
            except Unsupported as error:
                return str(error)
            return None

        found: str | None = self._once(("check", digest(backbone.identity), channels, size), check)
        return found

    def _cell(
        self,
        source: Mapping[str, Any],
        eval_name: str,
        evaluator_name: str,
        fraction: float,
        seed: int,
        settings: Mapping[str, Any],
    ) -> Cell:
        same = eval_name == source["dataset"].name and not any(s.startswith("eval_dataset.") for s in settings)
        data = source["dataset"] if same else self._part("datasets", eval_name, "eval_dataset", settings)
        evaluator = self._part("evaluators", evaluator_name, "evaluator", settings)
        subset, index_hash = self._subset(data, fraction, seed)
        cls = self._class("evaluators", evaluator_name)
        cls(evaluator.config).check(subset, len(self.datasets.open(data).info.classes))
        features = {
            split: digest(
                {
                    "stage": "features",
                    "backbone": source["key"],
                    "dataset": data.identity,
                    "split": split,
                    "transform": {"image_size": source["image_size"]},
                }
            )
            for split in self.datasets.open(data).splits
        }
        told = {
            "stage": "score",
            "features": features,
            "evaluator": evaluator.identity,
            "label_frac": fraction,
            "subset": index_hash,
            "seed": seed,
        }
        parts = {
            "method": source["method"],
            "backbone": source["backbone"],
            "dataset": source["dataset"],
            "eval_dataset": data,
            "evaluator": evaluator,
        }
        return Cell(
            **parts,
            label_frac=fraction,
            seed=seed,
            training=source["training"],
            views=source["views"],
            image_size=source["image_size"],
            settings=_said(settings, parts, trained=source["training"] is not None),
            keys=Keys(backbone=source["key"], features=features, score=digest(told)),
            skip=source["skip"],
        )

    # ---- parts

    def _part(self, kind: str, name: str, role: str, settings: Mapping[str, Any]) -> Part:
        """Return a plugin with what `settings` say of its role (`method.x`) or its name (`simclr.x`)."""
        cls = self._class(kind, name)
        values = self._values(cls.Config, role, name, settings)
        root = settings.get(f"{name}.{ROOT}", settings.get(f"{role}.{ROOT}"))
        memo = ("part", kind, name, repr(sorted(values.items())), root)
        return self._once(memo, lambda: self._make_part(kind, name, values, root))  # type: ignore[no-any-return]

    def _make_part(self, kind: str, name: str, values: Mapping[str, Any], root: Any) -> Part:
        cls, entry = self._class(kind, name), self.registry.find(kind, name)
        part = Part(
            kind=kind,
            name=name,
            config=build(cls.Config, values, name),
            identity={},
            root=Path(root).expanduser() if root is not None else None,
        )
        told = {
            "dist": entry.dist,
            "name": name.rpartition(":")[2],
            "version": cls.version,
            "config": identity(part.config),
        }
        if kind == "datasets":
            told["fingerprint"] = self.datasets.open(part).fingerprint()
        return dataclasses.replace(part, identity=told)

    def _values(
        self, config: type | None, role: str, name: str, settings: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the settings of one plugin; its name's go before its role's."""
        fields = {f.name for f in dataclasses.fields(config)} if config else None
        values = {}
        for prefix in (role, name):
            for setting, value in settings.items():
                part, _, field_name = setting.partition(".")
                if part == prefix and (fields is None or field_name in fields):
                    values[field_name] = value
        return values

    # ---- data

    def _labels(self, part: Part, split: str) -> np.ndarray[Any, np.dtype[np.int64]]:
        key = ("labels", digest(part.identity), part.root, split)
        return self._once(key, lambda: np.asarray(self.datasets.open(part).labels(split), dtype=np.int64))  # type: ignore[no-any-return]

    def _subset(self, data: Part, fraction: float, seed: int) -> tuple[int, str]:
        """Return how many labels a fraction gives, and the digest of which."""

        def draw() -> tuple[int, str]:
            index = splits.stratified_subset(self._labelled(data), fraction, seed)
            return len(index), splits.index_digest(index)

        key = ("subset", digest(data.identity), data.root, fraction, seed)
        return self._once(key, draw)  # type: ignore[no-any-return]

    def _labelled(self, data: Part) -> np.ndarray[Any, np.dtype[np.int64]]:
        parts = [s for s in ("train", "val") if s in self.datasets.open(data).splits]
        return np.concatenate([self._labels(data, split) for split in parts])


def _said(settings: Mapping[str, Any], parts: Mapping[str, Part], *, trained: bool) -> dict[str, Any]:
    """Return the settings that shape this cell; those of other methods or evaluators do not."""
    said = {}
    for setting, value in settings.items():
        part, _, name = setting.partition(".")
        if part in ("train", "views"):
            applies = trained
        else:
            applies = name != ROOT and any(
                part in (role, chosen.name) and hasattr(chosen.config, name) for role, chosen in parts.items()
            )
        if applies:
            said[setting] = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
    return said

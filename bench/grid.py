"""From what was asked to cells: every combination, resolved, keyed, and checked before training.

A cell is one point of the grid. Its stages form a chain of keys, each a digest of what the stage is
told and of the key before it: so a backbone is trained once and evaluated many times, and a changed
evaluator retrains nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from bench.cells import Cell, Keys, Part, Request
from bench.config import build
from bench.errors import BadValue, Unsupported
from bench.keys import digest
from bench.operations import changed_views
from bench.parts import ROOT, Datasets, Parts, chosen
from bench.recipe import TrainConfig, Training, resolve, too_few
from bench.refuse import check_request
from bench.registry import Registry

__all__ = ["Cell", "Datasets", "Request", "plan"]

SMALLEST_IMAGE = 16  # pixels: smaller data is enlarged, or a network has nothing left to convolve
IMAGE_SIZE = "train.image_size"  # the one setting of training that shapes what is not trained, too


def plan(request: Request, registry: Registry, datasets: Datasets) -> list[Cell]:
    """Return the cells of a request in the order of its axes, each once, those of a backbone together.

    Raises:
        UsageError: something cannot be done whatever the combination, or no combination can work;
            found here, before any training.
    """
    parts = Parts(registry, datasets)
    check_request(request, parts)
    cells: dict[str, Cell] = {}
    for cell in Planner(request, parts).cells():
        cells.setdefault(cell.keys.score, cell)
    skips = [cell.skip for cell in cells.values()]
    if skips and all(skips):
        raise BadValue(str(skips[0]))
    together: dict[str, list[Cell]] = {}
    for cell in _told_apart(cells.values()):
        together.setdefault(cell.keys.backbone, []).append(cell)
    return [cell for group in together.values() for cell in group]


def _told_apart(cells: Collection[Cell]) -> Iterator[Cell]:
    """Yield the cells, each with those of its settings that differ within the grid."""
    values: dict[str, set[str]] = {}
    for cell in cells:
        for name, value in cell.settings.items():
            values.setdefault(name, set()).add(repr(value))
    varying = {name for name, found in values.items() if len(found) > 1}
    for cell in cells:
        varied = {name: value for name, value in cell.settings.items() if name in varying}
        yield replace(cell, varied=varied) if varied else cell


@dataclass(frozen=True, kw_only=True)
class Source:
    """What cells of one backbone have in common; the fields are those of `Cell`."""

    method: Part
    backbone: Part
    dataset: Part
    seed: int
    split: str
    label_share: float
    training: Training | None
    views: tuple[Any, ...]
    image_size: int
    key: str
    skip: str | None


class Planner:
    """The grid of one request."""

    def __init__(self, request: Request, parts: Parts) -> None:
        self.request, self.parts, self.datasets = request, parts, parts.datasets

    def cells(self) -> Iterator[Cell]:
        """Yield every combination, those that share a backbone one after the other."""
        request = self.request
        for point in itertools.product(*request.settings.values()):
            settings = dict(zip(request.settings, point, strict=True))
            trained = itertools.product(request.dataset, request.backbone, request.method, request.seed)
            for dataset, backbone, method, seed in trained:
                sources: dict[float, Source] = {}
                for eval_dataset in request.eval_dataset or (dataset,):
                    for evaluator, fraction in self._evaluations():
                        share = self._label_share(method, fraction)
                        if share not in sources:
                            sources[share] = self._source(method, backbone, dataset, seed, share, settings)
                        yield self._cell(sources[share], eval_dataset, evaluator, fraction, settings)

    def _evaluations(self) -> Iterator[tuple[str, float | None]]:
        """Yield each evaluator with each label fraction; with none if it takes none."""
        for name in self.request.evaluator:
            takes = self.parts.plugin("evaluators", name).takes_fraction
            for fraction in self.request.label_frac if takes else (None,):
                yield name, fraction

    def _label_share(self, method: str, fraction: float | None) -> float:
        """Return the share of the training labels that a method sees in a cell: never more than a probe."""
        if not self.parts.plugin("methods", method).uses_labels:
            return 0.0
        return 1.0 if fraction is None else fraction

    # ---- a backbone

    def _source(
        self, method: str, backbone: str, dataset: str, seed: int, share: float, settings: Mapping[str, Any]
    ) -> Source:
        cls = self.parts.plugin("methods", method)
        backbone = cls.fixed_backbone or backbone
        parts = {
            "method": self.parts.choose("methods", method, "method", settings),
            "backbone": self.parts.choose("backbones", backbone, "backbone", settings),
            "dataset": self.parts.choose("datasets", dataset, "dataset", settings),
        }
        info = self.datasets.open(parts["dataset"]).info
        train = build(TrainConfig, chosen(TrainConfig, "train", "train", settings), "train")
        size = train.image_size or max(SMALLEST_IMAGE, info.size)
        split = "train" if cls.uses_labels else self.datasets.open(parts["dataset"]).pretrain
        training = self._training(parts["method"], parts["dataset"], split, train, size)
        views = self._views(parts["method"], info, size, settings) if training else ()
        told = {
            "stage": "backbone",
            **{role: part.identity for role, part in parts.items()},
            "training": training.told() if training else {"image_size": size},
            "views": [asdict(view) for view in views],
            "seed": seed,
        }
        lacking = None
        if 0 < share < 1:
            _, told["labels"], lacking = self._subset(parts["dataset"], share, seed)
        return Source(
            **parts,
            seed=seed,
            split=split,
            label_share=share,
            training=training,
            views=views,
            image_size=size,
            key=digest(told),
            skip=lacking or self.parts.unsupported(parts["backbone"], info.channels, size),
        )

    def _training(
        self, method: Part, data: Part, split: str, train: TrainConfig, size: int
    ) -> Training | None:
        """Return the resolved training; none where the method trains nothing."""
        cls = self.parts.plugin("methods", method.name)
        if cls.recipe is None:
            return None
        labels = self.parts.labels(data, split)
        if len(labels) < train.batch_size * train.accumulate:
            raise too_few(train.batch_size, len(labels), data.name, train.accumulate)
        if cls.uses_labels and labels.min() < 0:
            raise BadValue(f"{method.name}: it needs labels, but not every image of {data.name} has one.")
        auto = train.precision == "auto"
        return resolve(cls.recipe, train, size, self.request.auto_precision if auto else train.precision)

    def _views(self, method: Part, info: Any, size: int, settings: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return the method's views, changed by `settings` and without what changes a label."""
        own = self.parts.plugin("methods", method.name).views(method.config, info, size)
        views = changed_views(own, chosen(None, "views", "views", settings), method.name)
        return tuple(view.label_preserving(info) for view in views)

    # ---- a cell

    def _cell(
        self,
        source: Source,
        eval_name: str,
        evaluator_name: str,
        fraction: float | None,
        settings: Mapping[str, Any],
    ) -> Cell:
        data = self._evaluated(source, eval_name, settings)
        evaluator = self.parts.choose("evaluators", evaluator_name, "evaluator", settings)
        count, subset, lacking = self._subset(data, fraction or 1.0, source.seed)
        cls = self.parts.plugin("evaluators", evaluator_name)
        if lacking is None:
            classes = len(self.datasets.open(data).info.classes)
            cls(evaluator.config).check(count, classes)
        features = self._feature_keys(source, data)
        told = {
            "stage": "score",
            "features": features,
            "evaluator": evaluator.identity,
            "label_frac": fraction,
            "subset": subset,
            "seed": source.seed,
        }
        parts: dict[str, Any] = {
            "method": source.method,
            "backbone": source.backbone,
            "dataset": source.dataset,
            "eval_dataset": data,
            "evaluator": evaluator,
        }
        return Cell(
            **parts,
            label_frac=fraction,
            seed=source.seed,
            split=source.split,
            label_share=source.label_share,
            training=source.training,
            views=source.views,
            image_size=source.image_size,
            settings=_said(settings, parts, trained=source.training is not None),
            keys=Keys(backbone=source.key, features=features, score=digest(told)),
            skip=source.skip or lacking or self._unfit(source, evaluator),
        )

    def _subset(self, data: Part, fraction: float, seed: int) -> tuple[int, str, str | None]:
        """Return how many labels a fraction gives, the digest of which, and why it cannot be drawn."""
        try:
            return *self.parts.subset(data, fraction, seed), None
        except Unsupported as error:
            return 0, "", str(error)

    def _unfit(self, source: Source, evaluator: Part) -> str | None:
        """Return why an evaluator cannot work on what a method gives, if it cannot."""
        fixed = self.parts.plugin("methods", source.method.name).fixed_backbone
        if fixed is None or self.parts.plugin("evaluators", evaluator.name).needs == "features":
            return None
        return (
            f"{evaluator.name}: it needs a backbone to work on, but {source.method.name} has features only."
        )

    def _evaluated(self, source: Source, name: str, settings: Mapping[str, Any]) -> Part:
        """Return what is evaluated on: what was trained on, unless something else is said of it."""
        own = any(setting.startswith("eval_dataset.") for setting in settings)
        if name == source.dataset.name and not own:
            return source.dataset
        return self.parts.choose("datasets", name, "eval_dataset", settings)

    def _feature_keys(self, source: Source, data: Part) -> dict[str, str]:
        told = {
            "stage": "features",
            "backbone": source.key,
            "dataset": data.identity,
            "transform": {"image_size": source.image_size},
        }
        return {split: digest({**told, "split": split}) for split in self.datasets.open(data).splits}


def _said(settings: Mapping[str, Any], parts: Mapping[str, Part], *, trained: bool) -> dict[str, Any]:
    """Return the settings that shape this cell; those of other methods or evaluators do not."""
    said = {}
    for setting, value in settings.items():
        part, _, name = setting.partition(".")
        if part in ("train", "views"):
            applies = trained or setting == IMAGE_SIZE
        else:
            applies = name != ROOT and any(
                hasattr(plugin.config, name)
                and (part == plugin.name or (part == role and f"{plugin.name}.{name}" not in settings))
                for role, plugin in parts.items()
            )
        if applies:
            listed = isinstance(value, Sequence) and not isinstance(value, str)
            said[setting] = list(value) if listed else value
    return said

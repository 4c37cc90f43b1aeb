"""From what was asked to cells: every combination, resolved, keyed, and checked before training.

A cell is one point of the grid. Its stages form a chain of keys, each a digest of what the stage is
told and of the key before it: so a backbone is trained once and evaluated many times, and a changed
evaluator retrains nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.cells import Cell, Keys, Part, Request
from bench.config import build
from bench.errors import BadValue
from bench.keys import digest
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
    for cell in cells.values():
        together.setdefault(cell.keys.backbone, []).append(cell)
    return [cell for group in together.values() for cell in group]


@dataclass(frozen=True, kw_only=True)
class Source:
    """What cells of one backbone have in common; the fields are those of `Cell`."""

    method: Part
    backbone: Part
    dataset: Part
    seed: int
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
                source = self._source(method, backbone, dataset, seed, settings)
                evaluated = itertools.product(
                    request.eval_dataset or (dataset,), request.evaluator, request.label_frac
                )
                for eval_dataset, evaluator, fraction in evaluated:
                    yield self._cell(source, eval_dataset, evaluator, fraction, settings)

    # ---- a backbone

    def _source(
        self, method: str, backbone: str, dataset: str, seed: int, settings: Mapping[str, Any]
    ) -> Source:
        parts = {
            "method": self.parts.choose("methods", method, "method", settings),
            "backbone": self.parts.choose("backbones", backbone, "backbone", settings),
            "dataset": self.parts.choose("datasets", dataset, "dataset", settings),
        }
        info = self.datasets.open(parts["dataset"]).info
        train = build(TrainConfig, chosen(TrainConfig, "train", "train", settings), "train")
        size = train.image_size or max(SMALLEST_IMAGE, info.size)
        training = self._training(parts["method"], parts["dataset"], train, size)
        views = self._views(parts["method"], info, size, settings) if training else ()
        told = {
            "stage": "backbone",
            **{role: part.identity for role, part in parts.items()},
            "training": asdict(training) if training else {"image_size": size},
            "views": [asdict(view) for view in views],
            "seed": seed,
        }
        return Source(
            **parts,
            seed=seed,
            training=training,
            views=views,
            image_size=size,
            key=digest(told),
            skip=self.parts.unsupported(parts["backbone"], info.channels, size),
        )

    def _training(self, method: Part, data: Part, train: TrainConfig, size: int) -> Training | None:
        """Return the resolved training; none where the method trains nothing."""
        cls = self.parts.plugin("methods", method.name)
        if cls.recipe is None:
            return None
        labels = self.parts.labels(data, self.datasets.open(data).pretrain)
        if len(labels) < train.batch_size:
            raise too_few(train.batch_size, len(labels), data.name)
        if cls.uses_labels and labels.min() < 0:
            raise BadValue(f"{method.name}: it needs labels, but not every image of {data.name} has one.")
        auto = train.precision == "auto"
        return resolve(cls.recipe, train, size, self.request.auto_precision if auto else train.precision)

    def _views(self, method: Part, info: Any, size: int, settings: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return the method's views, changed by `settings` and without what changes a label."""
        changed = chosen(None, "views", "views", settings)
        views = self.parts.plugin("methods", method.name).views(method.config, info, size)
        built = (build(type(view), {**asdict(view), **changed}, "views") for view in views)
        return tuple(view.label_preserving(info) for view in built)

    # ---- a cell

    def _cell(
        self,
        source: Source,
        eval_name: str,
        evaluator_name: str,
        fraction: float,
        settings: Mapping[str, Any],
    ) -> Cell:
        data = self._evaluated(source, eval_name, settings)
        evaluator = self.parts.choose("evaluators", evaluator_name, "evaluator", settings)
        count, subset = self.parts.subset(data, fraction, source.seed)
        classes = len(self.datasets.open(data).info.classes)
        self.parts.plugin("evaluators", evaluator_name)(evaluator.config).check(count, classes)
        features = self._feature_keys(source, data)
        told = {
            "stage": "score",
            "features": features,
            "evaluator": evaluator.identity,
            "label_frac": fraction,
            "subset": subset,
            "seed": source.seed,
        }
        parts = {"method": source.method, "backbone": source.backbone, "dataset": source.dataset}
        parts |= {"eval_dataset": data, "evaluator": evaluator}
        return Cell(
            **parts,
            label_frac=fraction,
            seed=source.seed,
            training=source.training,
            views=source.views,
            image_size=source.image_size,
            settings=_said(settings, parts, trained=source.training is not None),
            keys=Keys(backbone=source.key, features=features, score=digest(told)),
            skip=source.skip,
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

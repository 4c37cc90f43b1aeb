"""The features of a split: loaded if they were extracted before, otherwise extracted and saved."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

from torch import Tensor

from bench.contracts.backbone import Backbone
from bench.contracts.dataset import Images
from bench.contracts.evaluator import Evaluator, Features
from bench.contracts.feature_spec import FeatureSpec
from bench.evaluation import features as feature_files
from bench.execution.backbone_stage import BackboneStage
from bench.execution.failures import in_stage
from bench.execution.image_cache import ImageCache
from bench.planning.cells import Cell
from bench.pretraining.loss_meter import advise_stability
from bench.storage.artifact_files import ABOUT, read_about, write_json
from bench.storage.artifacts import ArtifactStore
from bench.system.device import threads_on
from bench.system.memory import forget_peak, give_back, peak_mb
from bench.system.ranks import ALONE, Ranks
from bench.system.stage_watch import StageWatch


class FeaturesStage:
    """Extracts features, and maps their files into memory: each time anew, for whoever asks may change them.

    Args:
        backbones: the stage below.
        images: to extract features of.
        artifacts: where features are kept.
        watch: over each extraction.
    """

    def __init__(
        self, backbones: BackboneStage, images: ImageCache, artifacts: ArtifactStore, watch: StageWatch
    ) -> None:
        self.backbones, self.images = backbones, images
        self.artifacts, self.watch = artifacts, watch
        self._found: set[str] = set()  # keys of artifacts that are whole

    def get_all(self, cell: Cell) -> dict[str, Features]:
        """Return the features of every split that a cell is evaluated on.

        Raises:
            StageFailed: the images, the backbone or the features cannot be had.
        """
        if self.backbones.must_train(cell):
            self._load_images(cell)
        return {split: self.get(cell, split) for split in cell.keys.features}

    def get(self, cell: Cell, split: str) -> Features:
        """Return the features of one split.

        Raises:
            StageFailed: see `get_all`.
        """
        key = cell.keys.features[split]
        if key not in self._found:
            self._found &= set(cell.keys.features.values())
            with in_stage("features", cell), self.watch.entered("features"), self.artifacts.locked(key):
                if self.artifacts.find(key) is None:
                    self._extract(cell, split, key)
                self._found.add(key)
        with in_stage("features"):
            return feature_files.load(self.artifacts.folder / key)

    def read_all(self, cell: Cell) -> dict[str, Features]:
        """Return the features of every split that a cell is evaluated on, which are there and whole."""
        folder, keys = self.artifacts.folder, cell.keys.features
        return {split: feature_files.load(folder / key) for split, key in keys.items()}

    def has_all(self, cell: Cell) -> bool:
        """Tell whether all features of a cell are there and whole."""
        keys = set(cell.keys.features.values())
        self._found |= {key for key in keys - self._found if not self.artifacts.find_damage(key)}
        return keys <= self._found

    def about(self, cell: Cell) -> list[dict[str, Any]]:
        """Return what the artifacts of a cell's features say of them, a split at a time."""
        return [read_about(self.artifacts.folder / key) for key in cell.keys.features.values()]

    def _load_images(self, cell: Cell) -> None:
        """Load what is evaluated on before a training: a damaged image is found now, not hours later."""
        for split, key in cell.keys.features.items():
            if not self.artifacts.has(key):
                self.images.get(cell.eval_dataset, split)

    def _spec(self, cell: Cell) -> FeatureSpec:
        """Return which features the cell's evaluator wants."""
        cls: type[Evaluator] = self.backbones.registry.load_class("evaluators", cell.evaluator.name)
        return cls.features(cell.evaluator.config)

    def _extract(self, cell: Cell, split: str, key: str) -> None:
        backbone, about = self.backbones.get(cell), self.backbones.about(cell)
        images = self.images.get(cell.eval_dataset, split)
        team = self.backbones.team
        several = len(images) > feature_files.chunk_images(cell.image_size, self.backbones.device)
        sharing = team.sharing("features", cell, split) if several else nullcontext(ALONE)
        with self.artifacts.write(key) as folder, sharing as ranks:
            rows = self._rows(cell, backbone, images, ranks)
            rows = feature_files.finite(
                rows, f"{cell.training_title}: the features of {split}", _advise(cell)
            )
            with self.watch.stage("features", key, cell.training_title, of=cell.keys.backbone):
                forget_peak(self.backbones.device)
                started = time.monotonic()
                feature_files.save(rows, images.labels, folder)
                seconds = time.monotonic() - started
            threads = threads_on(self.backbones.device)
            own = {"seconds": seconds, "images": len(images), "threads": threads}
            own["peak_mb"] = peak_mb(self.backbones.device)
            give_back(self.backbones.device)
            write_json(folder / ABOUT, {**own, "backbone": about})

    def join(self, cell: Cell, split: str, ranks: Ranks) -> None:
        """Do this process's part of an extraction that another one leads, of a backbone that is there."""
        images = self.images.get(cell.eval_dataset, split)
        for _ in self._rows(cell, self.backbones.read(cell), images, ranks):
            raise AssertionError

    def _rows(self, cell: Cell, backbone: Backbone, images: Images, ranks: Ranks) -> Iterator[Tensor]:
        about = self.backbones.about(cell)
        return feature_files.extract(
            backbone,
            images.pixels,
            image_size=cell.image_size,
            channels=about["channels"],
            mean=tuple(about["mean"]),
            std=tuple(about["std"]),
            device=self.backbones.device,
            spec=self._spec(cell),
            ranks=ranks,
        )


def _advise(cell: Cell) -> str:
    """Return what to do where the features of a cell are not finite."""
    if cell.training is None:
        return "Nothing was trained: look at the weights that the backbone starts from."
    return advise_stability(cell.training)

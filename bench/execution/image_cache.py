"""The images of the dataset at work, loaded once."""

from __future__ import annotations

from bench.contracts.dataset import Images
from bench.execution.failures import in_stage
from bench.planning.cells import PluginChoice
from bench.planning.open_datasets import Datasets
from bench.system.stage_watch import StageWatch


class ImageCache:
    """Loads the images of a split, and keeps those of one dataset at a time in memory.

    Args:
        datasets: as they were opened for the plan.
        watch: over each loading.
    """

    def __init__(self, datasets: Datasets, watch: StageWatch) -> None:
        self.datasets, self.watch = datasets, watch
        self._kept: dict[tuple[str, str], Images] = {}

    def get(self, choice: PluginChoice, split: str) -> Images:
        """Return the images of a split of a dataset; those of other datasets are let go.

        A split that is there to pretrain on only is not kept: it may be far larger than the others.

        Raises:
            StageFailed: the dataset cannot load them.
        """
        if (choice.key, split) in self._kept:
            return self._kept[choice.key, split]
        self._kept = {key: images for key, images in self._kept.items() if key[0] == choice.key}
        with in_stage("data"), self.watch.entered("data"), self.watch.timer.time("data"):
            dataset = self.datasets.open(choice)
            images: Images = dataset.load(split)
            is_kept = split in dataset.splits
        if is_kept:
            self._kept[choice.key, split] = images
        return images

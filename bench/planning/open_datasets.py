"""The datasets of a request, each opened once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.boundary import Contained
from bench.errors import BadData, MissingData, refuse_unreadable
from bench.planning.cells import PluginChoice
from bench.registry.registry import Registry
from bench.splits.grouped import labelled_splits

if TYPE_CHECKING:
    from bench.contracts.dataset_info import DatasetInfo


class Datasets:
    """The datasets of a request, each opened once.

    Args:
        registry: of plugins.
        data_dir: where downloads and packed images are kept.
        download: what is missing may be downloaded.
        packed: decoded images are kept in a file, even where they would fit into memory.
        assume: where published files are missing, what is published of them is assumed, and nothing is
            downloaded: nothing is made of them.
    """

    def __init__(
        self,
        registry: Registry,
        data_dir: Path = Path("data"),
        *,
        download: bool = False,
        packed: bool = False,
        assume: bool = False,
    ) -> None:
        self.registry, self.data_dir, self.download, self.packed = registry, data_dir, download, packed
        self.assume = assume
        self.opened: dict[tuple[str, str, Path | None], Any] = {}

    def open(self, choice: PluginChoice) -> Any:
        """Return the `bench.contracts.dataset.Dataset` of a choice, each call of which is contained.

        Raises:
            BadData: its files are missing or cannot be used, or are others than when the choice was planned.
            BadPlugin: it raised what is no error for the user.
        """
        key = (choice.name, repr(choice.config), choice.root)
        if key not in self.opened:
            data = self._make(choice)
            refuse_other_data(choice, data)
            self.opened[key] = data
        return self.opened[key]

    def _make(self, choice: PluginChoice) -> Any:
        """Return a dataset; where its files are missing, what is published of them if that may be assumed."""
        from bench.contracts.dataset import DataLocation
        from bench.planning.absent_data import AbsentData

        cls = Contained(
            self.registry.load_class("datasets", choice.name),
            choice.name,
            refuse_unreadable,
            is_own=self.registry.find("datasets", choice.name).plugin.built_in,
        )
        published = cls.published(choice.config) if self.assume else None
        location = DataLocation(
            root=choice.root,
            data_dir=self.data_dir,
            download=self.download and published is None,
            packed=self.packed,
        )
        try:
            return cls(choice.name, choice.config, location)
        except MissingData:
            if published is None:
                raise
            return AbsentData(choice.name, choice.config, cls.about(choice.config), published)

    def training_info(self, choice: PluginChoice, *, uses_labels: bool) -> DatasetInfo:
        """Return what a method is told of a dataset: with how many images it is trained on.

        Args:
            choice: the dataset.
            uses_labels: the method is trained on train and val, one after the other, of which it sees some.
        """
        data = self.open(choice)
        splits = labelled_splits(data.splits) if uses_labels else (data.pretrain,)
        info: DatasetInfo = replace(data.info, images=sum(len(data.labels(split)) for split in splits))
        return info


def refuse_other_data(choice: PluginChoice, data: Any) -> None:
    """Refuse data that changed before another process than the one that planned opened it.

    Raises:
        BadData: its fingerprint is not the one that the choice's keys are of.
    """
    planned = choice.identity.get("fingerprint")
    if planned is not None and data.fingerprint() != planned:
        raise BadData(f"{choice.name}: its files changed after the run was planned. Run it again.")

"""The datasets of a request, each opened once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.boundary import Contained
from bench.errors import BadData, refuse_unreadable
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
    """

    def __init__(
        self,
        registry: Registry,
        data_dir: Path = Path("data"),
        *,
        download: bool = False,
        packed: bool = False,
    ) -> None:
        self.registry, self.data_dir, self.download, self.packed = registry, data_dir, download, packed
        self.opened: dict[tuple[str, str, Path | None], Any] = {}

    def open(self, choice: PluginChoice) -> Any:
        """Return the `bench.contracts.dataset.Dataset` of a choice, each call of which is contained.

        Raises:
            BadData: its files are missing or cannot be used, or are others than when the choice was planned.
            BadPlugin: it raised what is no error for the user.
        """
        key = (choice.name, repr(choice.config), choice.root)
        if key not in self.opened:
            from bench.contracts.dataset import DataLocation

            location = DataLocation(
                root=choice.root, data_dir=self.data_dir, download=self.download, packed=self.packed
            )
            cls = self.registry.load_class("datasets", choice.name)
            is_own = self.registry.find("datasets", choice.name).plugin.built_in
            contained = Contained(cls, choice.name, refuse_unreadable, is_own=is_own)
            data = contained(choice.name, choice.config, location)
            refuse_other_data(choice, data)
            self.opened[key] = data
        return self.opened[key]

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

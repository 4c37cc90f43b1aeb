"""What a plugin's class declares, which can be known without torch: settings, views, recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bench.config import NoSettings

if TYPE_CHECKING:
    from bench.augmentation.view import View
    from bench.contracts.dataset_info import DatasetInfo
    from bench.contracts.recipe import Recipe


class Declared:
    """What the class of every kind of plugin declares."""

    Config: ClassVar[type] = NoSettings
    version: ClassVar[int] = 1
    reference: ClassVar[str] = ""


class DeclaredDataset(Declared):
    """What the class of a dataset declares."""

    @classmethod
    def about(cls, config: Any) -> DatasetInfo | None:
        """Return what of `info` is known without the files, `classes` left empty; none: nothing is."""
        return None


class DeclaredMethod(Declared):
    """What the class of a method declares."""

    recipe: ClassVar[Recipe | None] = None  # none: nothing is trained
    uses_labels: ClassVar[bool] = False  # trained on the labelled images only, at each label fraction
    fixed_backbone: ClassVar[str | None] = None  # the one it goes with, whichever is asked for
    one_device: ClassVar[bool] = False  # `embed` needs all images of a batch: `--devices` is refused
    passes_per_view: ClassVar[int] = 1  # how often `embed` sends each view through the network that it trains

    @classmethod
    def views(cls, config: Any, data: DatasetInfo, image_size: int) -> tuple[View, ...]:
        """Return one augmentation recipe a view. What changes a label is dropped by the harness."""
        return ()

    @classmethod
    def recipe_for(cls, config: Any, data: DatasetInfo, image_size: int) -> Recipe | None:
        """Return the recipe of a training: that of the class, unless the config or the data change it."""
        return cls.recipe


BY_KIND: dict[str, type[Declared]] = {
    "methods": DeclaredMethod,
    "backbones": Declared,
    "datasets": DeclaredDataset,
    "evaluators": Declared,
}

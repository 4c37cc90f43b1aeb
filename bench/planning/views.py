"""Which views a method is trained on: said once, for planning and for all that looks at views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from bench.augmentation.named_ops import changed_views
from bench.augmentation.view import View, relative_cost
from bench.config import build
from bench.contracts.recipe import MOST_EPOCHS, TrainConfig
from bench.errors import BadValue, refuse_unreadable
from bench.planning.cells import PluginChoice
from bench.planning.checks import check_request
from bench.planning.open_datasets import Datasets
from bench.planning.options import Options
from bench.planning.plugin_choices import PluginChoices
from bench.planning.request import Request
from bench.planning.settings import own_settings
from bench.registry.registry import Registry

if TYPE_CHECKING:
    from bench.contracts.dataset_info import DatasetInfo

SMALLEST_IMAGE = 16  # pixels: smaller data is enlarged, or a network has nothing left to convolve


@dataclass(frozen=True, kw_only=True)
class ResolvedViews:
    """The views of a training, and the size that its backbone is built for.

    Args:
        image_size: side of a view that has no size of its own, in pixels.
        requested: the method's recipes with the user's settings; none where nothing is trained.
        applied: `requested` without what would change a label, and with a size only where that is not
            `image_size`: how a view was asked for does not change its key.
    """

    image_size: int
    requested: tuple[View, ...]
    applied: tuple[View, ...]


def read_train_config(settings: Mapping[str, Any]) -> TrainConfig:
    """Return the settings of training among `settings`, the others at their defaults.

    Raises:
        BadValue: a value cannot be used.
    """
    values = own_settings(TrainConfig, "train", "train", settings)
    return cast("TrainConfig", build(TrainConfig, values, "train"))


def spend_budget(
    train: TrainConfig, method: type[Any], views: Sequence[View], images: int, image_size: int
) -> TrainConfig:
    """Return a training's settings with as many epochs as `train.budget` pays for, to the nearest.

    Args:
        train: the settings.
        method: the class of the method.
        views: resolved.
        images: of an epoch.
        image_size: of the run, in pixels.

    Raises:
        BadValue: an epoch costs more than twice the budget.
    """
    if train.budget is None:
        return train
    step_images = train.batch_size * train.accumulate
    seen = images // step_images * step_images * relative_cost(views, image_size) * method.passes_per_view
    epochs = round(train.budget / seen) if seen else 1
    if epochs > MOST_EPOCHS:
        raise BadValue(
            f"train.budget: {train.budget:g} images are {epochs:.3g} epochs, each of which has {seen:g} "
            f"in all views. At most {MOST_EPOCHS:,} can be trained: set it to at most {MOST_EPOCHS * seen:g}."
        )
    if not epochs:
        raise BadValue(
            f"train.budget: {train.budget:g} images are less than half of an epoch, in which the method sees "
            f"{seen:g} in all its views. Set train.budget to {seen:g} or more, or use fewer images."
        )
    return replace(train, epochs=epochs)


def choose_image_size(train: TrainConfig, info: DatasetInfo) -> int:
    """Return the side of what a backbone sees: as it is set, or the data's own if that is not too small."""
    return train.image_size or max(SMALLEST_IMAGE, int(info.size))


def resolve_views(
    method: PluginChoice,
    info: DatasetInfo,
    train: TrainConfig,
    settings: Mapping[str, Any],
    parts: PluginChoices,
) -> ResolvedViews:
    """Return the views of a method on a dataset, as they are trained on.

    Args:
        method: with its settings.
        info: what is known of the dataset.
        train: what is set of training.
        settings: by their `--set` names, one value each.
        parts: where what cells have in common is worked out once.

    Raises:
        UsageError: a setting of views cannot be used.
    """
    values = own_settings(None, "views", "views", settings)
    image_size = choose_image_size(train, info)

    cls = parts.plugin("methods", method.name)
    if cls.recipe is None:
        return ResolvedViews(image_size=image_size, requested=(), applied=())
    own = method.presets.get("views") or cls.views(method.config, info, image_size)

    def resolve() -> ResolvedViews:
        requested = changed_views(own, values, method.name)
        sized = (replace(view, size=None) if view.size == image_size else view for view in requested)
        return ResolvedViews(
            image_size=image_size,
            requested=requested,
            applied=tuple(view.label_preserving(info) for view in sized),
        )

    memo = ("views", method.name, repr(own), info, image_size, repr(values))
    return cast("ResolvedViews", parts.remember(memo, resolve))


@dataclass(frozen=True, kw_only=True)
class ChosenViews:
    """One method's views on one dataset.

    Args:
        method: its name.
        dataset: with its settings.
        info: what is known of the dataset; of one that was not opened, without `classes`.
        views: of the method, resolved.
    """

    method: str
    dataset: PluginChoice
    info: DatasetInfo
    views: ResolvedViews


def choose_views(options: Options, registry: Registry, datasets: Datasets, *, open_data: bool) -> ChosenViews:
    """Return the views of one method on one dataset, resolved as for training.

    Args:
        options: one method, one dataset, one value a setting.
        registry: of plugins.
        datasets: where the dataset is opened.
        open_data: open it even if it can be known without its files.

    Raises:
        UsageError: something is not there, cannot be used, or has several values.
    """
    request = options.request(auto_precision="float32")
    _refuse_several(request)
    parts = PluginChoices(registry, datasets, declared=not open_data)
    check_request(request, parts)
    settings = {name: values[0] for name, values in request.settings.items()}
    method = parts.choose("methods", request.method[0], "method", settings)
    data = parts.configure("datasets", request.dataset[0], "dataset", settings)
    known = None if open_data else parts.plugin("datasets", data.name).about(data.config)
    if known is None and not open_data:
        return choose_views(options, registry, datasets, open_data=True)
    with refuse_unreadable():
        info = known or parts.training_info(method, data)
    return ChosenViews(
        method=method.name,
        dataset=data,
        info=info,
        views=resolve_views(method, info, read_train_config(settings), settings, parts),
    )


def _refuse_several(request: Request) -> None:
    """Refuse an axis: there is one picture, or one text, of one training."""
    axes = {"--method": request.method, "--dataset": request.dataset}
    axes |= {f"--set {setting}": values for setting, values in request.settings.items()}
    for option, values in axes.items():
        if len(values) > 1:
            listed = ", ".join(map(str, values))
            raise BadValue(f"{option}: {len(values)} values are given, {listed}. Name one.")

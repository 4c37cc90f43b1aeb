"""The views that a method is trained on, from options as `bench run` takes them."""

from __future__ import annotations

from dataclasses import dataclass

from bench.augmentation.named_ops import changed_views
from bench.augmentation.view import View
from bench.config import build
from bench.contracts.dataset import DatasetInfo
from bench.contracts.recipe import TrainConfig
from bench.errors import BadValue, refuse_unreadable
from bench.planning.cells import PluginChoice
from bench.planning.checks import check_request
from bench.planning.open_datasets import Datasets
from bench.planning.options import Options
from bench.planning.planner import image_size
from bench.planning.plugin_choices import PluginChoices, own_settings
from bench.planning.request import Request
from bench.registry.registry import Registry


@dataclass(frozen=True, kw_only=True)
class ChosenViews:
    """One method's views on one dataset.

    Args:
        method: its name.
        dataset: with its settings.
        info: what is known of the dataset; of one that was not opened, without `classes`.
        image_size: side of a view.
        asked: the recipes with what was set of them; none where nothing is trained.
        applied: `asked` without what would change a label.
    """

    method: str
    dataset: PluginChoice
    info: DatasetInfo
    image_size: int
    asked: tuple[View, ...]
    applied: tuple[View, ...]


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
    parts = PluginChoices(registry, datasets)
    check_request(request, parts)
    settings = {name: values[0] for name, values in request.settings.items()}
    method = parts.choose("methods", request.method[0], "method", settings)
    data = parts.configure("datasets", request.dataset[0], "dataset", settings)
    known = None if open_data else parts.plugin("datasets", data.name).about(data.config)
    with refuse_unreadable():
        info = known or datasets.open(data).info
    train = build(TrainConfig, own_settings(TrainConfig, "train", "train", settings), "train")
    size = image_size(train, info)
    cls = parts.plugin("methods", method.name)
    own = cls.views(method.config, info, size) if cls.recipe else ()
    asked = changed_views(own, own_settings(None, "views", "views", settings), method.name)
    return ChosenViews(
        method=method.name,
        dataset=data,
        info=info,
        image_size=size,
        asked=asked,
        applied=tuple(view.label_preserving(info) for view in asked),
    )


def _refuse_several(request: Request) -> None:
    """Refuse an axis: there is one picture, or one text, of one training."""
    named = {"--method": request.method, "--dataset": request.dataset}
    named |= {f"--set {setting}": values for setting, values in request.settings.items()}
    for option, values in named.items():
        if len(values) > 1:
            said = ", ".join(map(str, values))
            raise BadValue(f"{option}: {len(values)} values are given, {said}. Name one.")

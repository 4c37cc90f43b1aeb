"""Write what is done to an image before a method sees it: the text of `bench show views`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Any

from tabulate import tabulate

from bench.augmentation.named_ops import IN_ORDER, Operation
from bench.augmentation.view import RGB, View, blur_radius
from bench.contracts.dataset_info import DatasetInfo
from bench.plain_text import indent
from bench.planning.open_datasets import Datasets
from bench.planning.options import Runtime, merge_options
from bench.planning.views import ChosenViews, choose_views
from bench.registry.registry import Registry

PARAMETERS_WIDTH = 72  # of the table's last column, in letters
FLIP_CHANGES_LABEL = "a mirrored image may be of another class"
GREY_IMAGES = "the images are grey"
COLOUR_CHANGES_LABEL = "colour tells the classes apart"

RequestedAndApplied = tuple[View, View]


def show_views(registry: Registry, method: str, options: Mapping[str, Any]) -> str:
    """Return all that is done to an image of a dataset in each view of a method.

    Args:
        registry: of plugins.
        method: its name.
        options: of `bench run`, by name; those that were left out are none or an empty tuple.

    Raises:
        UsageError: something is not there or cannot be used.
    """
    merged = merge_options(None, {**options, "method": (method,)})
    datasets = Datasets(registry, Runtime(**merged.runtime).data_dir)
    chosen = choose_views(merged, registry, datasets, open_data=False)
    if not chosen.views.applied:
        return f"{chosen.method} trains nothing, so there are no views."
    return "\n\n".join([_write_heading(chosen), *_write_blocks(chosen), _write_normalisation(chosen.info)])


def _write_heading(chosen: ChosenViews) -> str:
    """Return which views there are: `2 views of 224x224 and 6 views of 96x96 pixels`."""
    image_size, native = chosen.views.image_size, chosen.info.size
    counts = Counter(view.side(image_size) for view in chosen.views.applied)
    parts = [f"{_count_views(count)} of {side}x{side}" for side, count in counts.items()]
    heading = f"{chosen.method} on {chosen.dataset.name}: {' and '.join(parts)} pixels"
    if set(counts) != {native}:
        heading += f", of images of {native}x{native}"
    return heading


def _count_views(count: int) -> str:
    return "1 view" if count == 1 else f"{count} views"


def _write_blocks(chosen: ChosenViews) -> Iterable[str]:
    """Yield a text for each recipe, with the numbers of the views that have it."""
    views, image_size = chosen.views, chosen.views.image_size
    numbers: dict[RequestedAndApplied, list[int]] = {}
    for number, pair in enumerate(zip(views.requested, views.applied, strict=True), 1):
        numbers.setdefault(pair, []).append(number)
    for (requested, applied), alike in numbers.items():
        side = applied.side(image_size)
        size = "" if side == image_size else f", {side}x{side} pixels"
        parts = [
            f"{_name_views(alike)}{size}",
            _write_operations(applied, side),
            _write_dropped(requested, applied, chosen.info),
            _write_off(requested),
        ]
        yield "\n".join(filter(None, parts))


def _name_views(numbers: list[int]) -> str:
    *most, last = map(str, numbers)
    return f"views {', '.join(most)} and {last}" if most else f"view {last}"


def _write_operations(view: View, size: int) -> str:
    """Return a table of the operations of `view`, in the order they are applied in."""
    rows = [
        (operation.name, _write_probability(operation, view), PARAMETERS[operation.name](view, size))
        for operation in IN_ORDER
        if operation.is_on(view)
    ]
    if not rows:
        return "  the whole image, unchanged"
    table = tabulate(
        rows,
        headers=("operation", "probability", "parameters"),
        tablefmt="plain",
        disable_numparse=True,
        maxcolwidths=[None, None, PARAMETERS_WIDTH],
    )
    return indent(table)


def _write_probability(operation: Operation, view: View) -> str:
    return "1" if operation.name == "crop" else f"{getattr(view, operation.name):g}"


def _write_dropped(requested: View, applied: View, info: DatasetInfo) -> str:
    """Return what of the recipe is left out for this data, and why."""
    on = {
        field
        for operation in IN_ORDER
        if operation.is_on(requested)
        for field in (*operation.off, *operation.strengths)
    }
    dropped: dict[str, list[str]] = {}
    for field in fields(View):
        before, after = getattr(requested, field.name), getattr(applied, field.name)
        if field.name in on and before != after:
            dropped.setdefault(_explain_drop(field.name, info), []).append(f"{field.name} {before:g}")
    return "\n".join(f"  dropped: {', '.join(values)} ({reason})" for reason, values in dropped.items())


def _explain_drop(field: str, info: DatasetInfo) -> str:
    if field == "flip":
        return FLIP_CHANGES_LABEL
    return COLOUR_CHANGES_LABEL if info.channels == RGB else GREY_IMAGES


def _write_off(view: View) -> str:
    names = [operation.name for operation in IN_ORDER if not operation.is_on(view)]
    return f"  off: {', '.join(names)}" if names else ""


def _write_normalisation(info: DatasetInfo) -> str:
    said = "then normalised by the mean and standard deviation of the training images, measured by the run"
    if info.mean and info.std:
        mean, std = (", ".join(f"{value:g}" for value in values) for values in (info.mean, info.std))
        said = f"then normalised: (value - mean) / std, mean {mean}, std {std}"
    return f"{said}\n(where a backbone starts from weights: by those that the weights expect)"


# ---- parameters of an operation, in words


def _write_affine(view: View, size: int) -> str:
    turn = f"rotated within ±{view.rotate:g}°, sheared within ±{view.shear:g}°"
    move = f"shifted within ±{view.translate:g} of the side, scaled by {_write_range(view.zoom)}"
    return f"{turn}, {move}; black outside"


def _write_crop(view: View, size: int) -> str:
    area = f"{view.crop_min:g} to {view.crop_max:g} of the area"
    ratio = f"aspect ratio {1 / view.crop_ratio:.3g} to {view.crop_ratio:.3g}"
    return f"{area}, {ratio}, resized to {size}x{size}"


def _write_flip(view: View, size: int) -> str:
    return "left to right"


def _write_jitter(view: View, size: int) -> str:
    strengths = {name: getattr(view, name) for name in ("brightness", "contrast", "saturation")}
    changes = [f"{name} × {_write_range(strength)}" for name, strength in strengths.items() if strength]
    if view.hue:
        changes.append(f"hue ±{view.hue:g} of the circle")
    return f"{', '.join(changes) or 'nothing'}; in random order"


def _write_grey(view: View, size: int) -> str:
    return "luminance in all three channels"


def _write_blur(view: View, size: int) -> str:
    side = 2 * blur_radius(size) + 1
    return f"Gaussian, sigma {view.blur_min:g} to {view.blur_max:g} pixels, kernel {side}x{side} pixels"


def _write_solarise(view: View, size: int) -> str:
    return "values of 128 and more (of 255) are inverted"


def _write_range(strength: float) -> str:
    """Return the factors within 1 ± `strength`."""
    return f"{max(0.0, 1 - strength):g} to {1 + strength:g}"


PARAMETERS: dict[str, Callable[[View, int], str]] = {
    "affine": _write_affine, "crop": _write_crop, "flip": _write_flip, "jitter": _write_jitter,
    "grey": _write_grey, "blur": _write_blur, "solarise": _write_solarise,
}  # fmt: skip

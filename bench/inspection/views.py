"""Say what is done to an image before a method sees it: the text of `bench show views`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Any

from tabulate import tabulate

from bench.augmentation.image_ops import blur_radius
from bench.augmentation.named_ops import IN_ORDER, Operation
from bench.augmentation.view import RGB, View
from bench.contracts.dataset import DatasetInfo
from bench.planning.open_datasets import Datasets
from bench.planning.options import Runtime, merge_options
from bench.planning.views import ChosenViews, choose_views
from bench.registry.registry import Registry

WIDTH = 72  # of the parameters' column
MIRRORED = "a mirrored image may be of another class"
NO_COLOUR = "the images are grey"
TELLING = "colour tells the classes apart"

Pair = tuple[View, View]  # what was asked for, and what of it is applied


def show_views(registry: Registry, method: str, options: Mapping[str, Any]) -> str:
    """Return all that is done to an image of a dataset in each view of a method.

    Args:
        registry: of plugins.
        method: its name.
        options: as `bench run` has them; those that were left out are none or an empty tuple.

    Raises:
        UsageError: something is not there or cannot be used.
    """
    wanted = merge_options(None, {**options, "method": (method,)})
    datasets = Datasets(registry, Runtime(**wanted.runtime).data_dir)
    chosen = choose_views(wanted, registry, datasets, open_data=False)
    if not chosen.views.applied:
        return f"{chosen.method} trains nothing, so there are no views."
    return "\n\n".join([_heading(chosen), *_blocks(chosen), _normalised(chosen.info)])


def _heading(chosen: ChosenViews) -> str:
    count = len(chosen.views.applied)
    own, size = chosen.info.size, chosen.views.image_size
    enlarged = "" if own == size else f", of images of {own}x{own}"
    views = "1 view" if count == 1 else f"{count} views"
    return f"{chosen.method} on {chosen.dataset.name}: {views} of {size}x{size} pixels{enlarged}"


def _blocks(chosen: ChosenViews) -> Iterable[str]:
    """Yield a text for each recipe, with the views that have it."""
    alike: dict[Pair, list[int]] = {}
    for number, pair in enumerate(zip(chosen.views.requested, chosen.views.applied, strict=True), 1):
        alike.setdefault(pair, []).append(number)
    for pair, numbers in alike.items():
        parts = [_applied(pair[1], chosen.views.image_size), _dropped(pair, chosen.info), _off(pair[0])]
        yield "\n".join([_named(numbers), *filter(None, parts)])


def _named(numbers: list[int]) -> str:
    *most, last = map(str, numbers)
    return f"views {', '.join(most)} and {last}" if most else f"view {last}"


def _applied(view: View, size: int) -> str:
    """Return a table of the operations of `view`, in the order they are applied in."""
    rows = [
        (operation.name, _probability(operation, view), PARAMETERS[operation.name](view, size))
        for operation in IN_ORDER
        if operation.is_on(view)
    ]
    if not rows:
        return "  the whole image, unchanged"
    headers = ("operation", "probability", "parameters")
    table = tabulate(rows, headers, tablefmt="plain", disable_numparse=True, maxcolwidths=[None, None, WIDTH])
    return "\n".join(f"  {line}".rstrip() for line in table.splitlines())


def _probability(operation: Operation, view: View) -> str:
    return "1" if operation.name == "crop" else f"{getattr(view, operation.name):g}"


def _dropped(pair: Pair, info: DatasetInfo) -> str:
    """Return what of the recipe is left out for this data, and why."""
    asked_for, applied = pair
    on = {name for operation in IN_ORDER if operation.is_on(asked_for) for name in _fields(operation)}
    reasons: dict[str, list[str]] = {}
    for field in fields(View):
        before, after = getattr(asked_for, field.name), getattr(applied, field.name)
        if before != after and field.name in on:
            reasons.setdefault(_reason(field.name, info), []).append(f"{field.name} {before:g}")
    return "\n".join(f"  dropped: {', '.join(names)} ({reason})" for reason, names in reasons.items())


def _fields(operation: Operation) -> Iterable[str]:
    return (*operation.off, *operation.strengths)


def _reason(field: str, info: DatasetInfo) -> str:
    if field == "flip":
        return MIRRORED
    return TELLING if info.channels == RGB else NO_COLOUR


def _off(view: View) -> str:
    names = [operation.name for operation in IN_ORDER if not operation.is_on(view)]
    return f"  off: {', '.join(names)}" if names else ""


def _normalised(info: DatasetInfo) -> str:
    if not (info.mean and info.std):
        return (
            "then normalised by the mean and standard deviation of the training images, measured by the run"
        )
    mean, std = (", ".join(f"{value:g}" for value in values) for values in (info.mean, info.std))
    return f"then normalised: (value - mean) / std, mean {mean}, std {std}"


# ---- parameters of an operation, in words


def _affine(view: View, size: int) -> str:
    turned = f"rotated within ±{view.rotate:g}°, sheared within ±{view.shear:g}°"
    moved = f"shifted within ±{view.translate:g} of the side, scaled by {_around(view.zoom)}"
    return f"{turned}, {moved}; black outside"


def _crop(view: View, size: int) -> str:
    area = f"{view.crop_min:g} to {view.crop_max:g} of the area"
    ratio = f"aspect ratio {1 / view.crop_ratio:.3g} to {view.crop_ratio:.3g}"
    return f"{area}, {ratio}, resized to {size}x{size}"


def _flip(view: View, size: int) -> str:
    return "left to right"


def _jitter(view: View, size: int) -> str:
    strengths = {name: getattr(view, name) for name in ("brightness", "contrast", "saturation")}
    said = [f"{name} × {_around(strength)}" for name, strength in strengths.items() if strength]
    said += [f"hue ±{view.hue:g} of the circle"] if view.hue else []
    return f"{', '.join(said) or 'nothing'}; in random order"


def _grey(view: View, size: int) -> str:
    return "luminance in all three channels"


def _blur(view: View, size: int) -> str:
    side = 2 * blur_radius(size) + 1
    return f"Gaussian, sigma {view.blur_min:g} to {view.blur_max:g} pixels, kernel {side}x{side} pixels"


def _solarise(view: View, size: int) -> str:
    return "values of 128 and more (of 255) are inverted"


def _around(strength: float) -> str:
    return f"{max(0.0, 1 - strength):g} to {1 + strength:g}"


PARAMETERS: dict[str, Callable[[View, int], str]] = {
    "affine": _affine, "crop": _crop, "flip": _flip, "jitter": _jitter, "grey": _grey, "blur": _blur,
    "solarise": _solarise,
}  # fmt: skip

"""Refuse a request whose names, shares or settings fit nothing, before any data is opened."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
from collections.abc import Callable, Collection, Iterator
from typing import Any

from bench.augmentation.named_ops import OPS, check_ops
from bench.config import build, check_value, suggest_setting
from bench.contracts.dataset_info import NAME, ROOT
from bench.contracts.recipe import TrainConfig
from bench.errors import BadPlugin, BadValue, UnknownName, suggest
from bench.planning.open_datasets import Datasets
from bench.planning.options import Options
from bench.planning.plugin_choices import PluginChoices
from bench.planning.request import Request
from bench.planning.settings import own_settings
from bench.registry.presets import SLOTS
from bench.registry.registry import Registry, singular
from bench.spelling import find_nearest, is_another_word

MOST_CELLS = 20_000  # of a grid: ten thousand are planned in seconds
PARTS = ("method", "backbone", "dataset", "eval_dataset", "train", "views")


def check_request(request: Request, plugins: PluginChoices) -> None:
    """Refuse a request that names something that is not there.

    Raises:
        UnknownName: a plugin, a part or a field of that name does not exist.
        BadValue: an axis is empty, a label fraction out of range, or a setting is not `part.field`.
    """
    _refuse_too_many(request)
    for kind, names in request.names.items():
        if not names:
            raise BadValue(f"{singular(kind)}: none was named. Name at least one.")
        for name in names:
            plugins.registry.find(kind, name)
            if kind != "backbones":  # a method may go with another: timm is not imported for a name
                plugins.plugin(kind, name)
    for fraction in request.label_frac:
        if not 0 < fraction <= 1:
            raise BadValue(f"label-frac: {fraction:g} is out of range. Use more than 0 and at most 1.")
    for setting in request.settings:
        _check_setting(setting, request, plugins)


def _refuse_too_many(request: Request) -> None:
    """Refuse a grid of more cells than anyone waits for, and whose plan alone takes minutes."""
    own = ("method", "backbone", "dataset", "eval_dataset", "evaluator", "seed")
    axes = {**{name: getattr(request, name) for name in own}, **request.settings}
    amounts = len(request.label_frac) * len(request.keep_one) + len(request.shots)
    cells = max(1, amounts) * math.prod(max(1, len(values)) for values in axes.values())
    if cells > MOST_CELLS:
        largest = max(axes, key=lambda name: len(axes[name]))
        raise BadValue(
            f"{largest.replace('_', '-')}: it has {len(axes[largest]):,} values, the grid {cells:,} cells. "
            f"A grid has at most {MOST_CELLS:,}: make several of it."
        )


def refuse_early(options: Options, registry: Registry) -> None:
    """Refuse what is wrong by what plugins declare, before seconds are spent on importing torch.

    What a plugin's own code has to say, and what only data shows, is left to planning.

    Raises:
        UsageError: a name is unknown, or a value cannot be used.
    """
    request = options.request(auto_precision="float32")
    plugins = PluginChoices(registry, Datasets(registry), declared=True)
    check_request(request, plugins)
    if executor := options.runtime.get("executor"):
        registry.find("executors", executor)
        if own := options.executor_settings:
            build(registry.load_class("executors", executor).Config, own, executor)
    for name, own in options.logger_settings.items():
        build(registry.load_class("loggers", name).Config, own, name)
    for settings in _combine(request, lambda part: part == "train"):
        build(TrainConfig, own_settings(TrainConfig, "train", "train", settings), "train")
    _check_views(request)
    if {"train.epochs", "train.budget"} <= request.settings.keys():
        raise BadValue("train.budget: it says how many epochs there are, as --epochs does. Leave one out.")
    roles = {**_list_roles(request), "evaluator": ("evaluators", request.evaluator)}
    for role, (kind, names) in roles.items():
        for name in names:
            for settings in _combine(request, {role, name}.__contains__):
                with contextlib.suppress(BadPlugin):  # its cells fail, and no others
                    plugins.configure(kind, name, role, settings)


def _combine(request: Request, is_wanted: Callable[[str], bool]) -> Iterator[dict[str, Any]]:
    """Yield each combination of the values of some parts of `--set`."""
    axes = {name: values for name, values in request.settings.items() if is_wanted(name.partition(".")[0])}
    for point in itertools.product(*axes.values()):
        yield dict(zip(axes, point, strict=True))


def _check_views(request: Request) -> None:
    """Refuse a value that no view can have."""
    from bench.augmentation.view import View

    for setting, values in request.settings.items():
        part, _, name = setting.partition(".")
        if part == "views" and name != OPS:
            for value in values:
                check_value(View, name, value, "views")


def _check_setting(setting: str, request: Request, plugins: PluginChoices) -> None:
    part, dot, name = setting.partition(".")
    if not dot or not name:
        raise BadValue(f"--set: {setting!r} is not PART.FIELD=VALUE. Parts: {', '.join(PARTS)}.")
    known = {*PARTS, *(name for names in request.names.values() for name in names)}
    if part not in known:
        raise UnknownName(f"--set {setting}: nothing chosen is named {part!r}.{suggest(part, known)}")
    fields = {f.name for config in _find_configs(part, request, plugins) for f in dataclasses.fields(config)}
    if part in {"dataset", "eval_dataset", *request.names["datasets"]}:
        fields |= {ROOT, NAME}
    fields |= _list_slots(part, request, plugins)
    if part == "views":
        fields.add(OPS)
    if name not in fields:
        remedy = _suggest_setting(part, name, fields, request, plugins)
        raise UnknownName(f"--set {setting}: {part} has no setting named {name!r}.{remedy}")
    if setting == f"views.{OPS}":
        for ops in request.settings[setting]:
            check_ops(ops)


def _list_slots(part: str, request: Request, plugins: PluginChoices) -> set[str]:
    """Return what a part of `--set` may name a preset for: `recipe`, `views` or `protocol`."""
    chosen = {kind: names for role, (kind, names) in _list_roles(request).items() if role == part}
    chosen |= {kind: (part,) for kind, names in request.names.items() if part in names}
    kinds = [
        kind
        for kind, names in chosen.items()
        if kind != "methods" or any(plugins.plugin(kind, name).recipe is not None for name in names)
    ]
    return {slot for kind in kinds for slot in SLOTS.get(kind, ())}


def _suggest_setting(
    part: str, name: str, fields: Collection[str], request: Request, plugins: PluginChoices
) -> str:
    """Return what to write in place of an unknown setting: another of its part, or one of another part."""
    if not find_nearest(name, fields):
        others = [
            f"{other}.{field.name}"
            for other in PARTS
            if other != part
            for config in _find_configs(other, request, plugins)
            for field in dataclasses.fields(config)
        ]
        if near := [word for word in find_nearest(name, others) if is_another_word(name, word)]:
            return f" Did you mean {' or '.join(map(repr, near))}?"
    return suggest_setting(name, fields, _command_to_see(part, request))


def _command_to_see(part: str, request: Request) -> str:
    """Return the command that shows the settings of a part."""
    if part in ("train", "views"):
        return f"bench show {part}"
    roles = {**_list_roles(request), "evaluator": ("evaluators", request.evaluator)}
    kind, names = roles.get(part) or next((k, (part,)) for k, names in request.names.items() if part in names)
    return f"bench show {singular(kind)} {names[0]}"


def _find_configs(part: str, request: Request, plugins: PluginChoices) -> list[type]:
    """Return the classes whose fields a part of `--set` has."""
    if part == "views":
        from bench.augmentation.view import View

        return [View]
    return [TrainConfig] if part == "train" else [cls.Config for cls in _find_classes(part, request, plugins)]


def _list_roles(request: Request) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return the kind and the names of the plugins that have a role, by the role."""
    return {
        "method": ("methods", request.method),
        "backbone": ("backbones", request.backbone),
        "dataset": ("datasets", request.dataset),
        "eval_dataset": ("datasets", request.eval_dataset or request.dataset),
    }


def _find_classes(part: str, request: Request, plugins: PluginChoices) -> list[Any]:
    """Return the classes that a part of `--set` may mean: those of its role, or of its name."""
    roles = _list_roles(request)
    if part in roles:
        kind, names = roles[part]
        return [plugins.plugin(kind, name) for name in names]
    return [plugins.plugin(kind, part) for kind, names in request.names.items() if part in names]

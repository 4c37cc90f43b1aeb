"""What there is to run: the texts of `bench list` and `bench show`."""

from __future__ import annotations

import dataclasses
import inspect
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from tabulate import tabulate

from bench.augmentation.named_ops import NAMES, OPS
from bench.augmentation.view import View
from bench.config import OUR_CHOICE, format_value, key_fields
from bench.contracts.dataset_info import ROOT, DatasetInfo
from bench.contracts.declared import DeclaredMethod
from bench.contracts.recipe import ParamGroup, Recipe, TrainConfig
from bench.errors import UnknownName, UsageError, suggest
from bench.inspection.presets import format_presets
from bench.plain_text import indent
from bench.registry.registry import KINDS, Entry, Registry, find_meant, singular

WIDTHS = (None, None, 20, 44, 32)  # of a setting's name, default, range, meaning and source

SIDES = (32, 224)  # of images, in pixels: CIFAR's and ImageNet's, for which papers have recipes
SOURCE_WIDTH = 40  # of a recipe beside another, in letters
RECIPE_SOURCE, VIEWS_SOURCE = "the method's recipe", "the method's views"
ABOUT_TRAIN = """train: what can be set of every training

Where the default is the method's, `bench show method NAME` has its value and its source."""
ABOUT_VIEWS = """views: what can be set of the views of every method, in all of them

`bench show views METHOD` has those of a method. Where it says nothing of a field, the default is SimCLR's for
ImageNet."""
SETTINGS_OF_ALL = {  # by the part of `--set`: what it is, settings, whose value holds where nothing is set
    "train": (ABOUT_TRAIN, TrainConfig, RECIPE_SOURCE),
    "views": (ABOUT_VIEWS, View, VIEWS_SOURCE),
}


def find_kind(word: str) -> str:
    """Return the kind that `word`, singular or plural, means.

    Raises:
        UnknownName: there is no such kind.
    """
    if (kind := find_meant(word, KINDS)) is None:
        raise UnknownName(f"no kind of plugin is named {word!r}.{suggest(word, KINDS)}")
    return kind


def kind_or_pattern(what: str | None, pattern: str | None) -> tuple[str | None, str | None]:
    """Return the kind and the pattern of `bench list`, whose first argument may be either.

    Raises:
        UnknownName: two arguments are given, and the first is no kind.
    """
    if what is None or pattern is not None or find_meant(what, KINDS):
        return (find_kind(what) if what else None), pattern
    return None, what


# ---- bench list


def list_plugins(registry: Registry, kind: str | None = None, pattern: str | None = None) -> str:
    """Return what there is, kind by kind.

    Args:
        registry: where to look.
        kind: only this one.
        pattern: only names that match: a glob, or any part of a name. Families are then opened.

    Raises:
        UnknownName: nothing matches.
    """
    kinds = (kind,) if kind else tuple(KINDS)
    rows = {
        k: [row for entry in registry.entries(k) for row in _offer_rows(registry, entry, pattern)]
        for k in kinds
    }
    if pattern and not any(rows.values()):
        raise UnknownName(f"nothing that is listed matches {pattern!r}. Leave the pattern out to see all.")
    shown = {k: without_empty(rows[k]) for k in kinds}
    blocks = [f"{k}\n{format_columns(shown[k]) or '  none'}" for k in kinds if rows[k] or not pattern]
    return "\n\n".join(blocks)


def _offer_rows(registry: Registry, entry: Entry, pattern: str | None) -> Iterable[Sequence[str]]:
    """Yield the name, group, summary and origin of an offer, or of the members of a family that match."""
    origin = "" if entry.plugin.built_in else f"({entry.dist} {entry.version})"
    if not entry.family:
        if _matches(entry.name, pattern):
            name = entry.full_name if entry in registry.shadowed(entry.kind) else entry.name
            yield name, entry.group, entry.summary, origin
    elif pattern is None:
        size = f"{len(registry.family_names(entry)):,} names: bench list {entry.kind} PATTERN"
        yield f"{entry.name} (family)", "", f"{entry.summary} {size}", origin
    else:
        for name in registry.family_names(entry):
            if _matches(name, pattern):
                yield name, "", f"of {entry.name}", origin


def without_empty(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return the rows without columns in which nothing is."""
    columns = [column for column in zip(*rows, strict=True) if any(column)]
    return [list(row) for row in zip(*columns, strict=True)]


def _matches(name: str, pattern: str | None) -> bool:
    is_glob = pattern is not None and any(sign in pattern for sign in "*?[")
    return pattern is None or (fnmatchcase(name, pattern) if is_glob else pattern in name)


# ---- bench show


def show_any(registry: Registry, what: str, name: str | None) -> str:
    """Return what `bench show` says of its arguments.

    Args:
        registry: where to look.
        what: a kind, `train` or `views`; without `name`, the name of a plugin of any kind.
        name: of a plugin of that kind.

    Raises:
        UsageError: there is nothing of that name, or it is left out.
        BadPlugin: it cannot be imported.
    """
    if what.lower() in SETTINGS_OF_ALL and name is None:
        return show_settings(what.lower())
    if name is not None:
        return show(registry, find_kind(what), name)
    if kind := find_meant(what, KINDS):
        raise UsageError(f"show {what}: of which? Name one; `bench list {kind}` has them.")
    try:
        found = registry.find_anywhere(what)
    except UnknownName as error:
        kinds = (*map(singular, KINDS), *SETTINGS_OF_ALL)
        raise UnknownName(f"show {what}: {error} Kinds: {', '.join(kinds)}.") from error
    return "\n\n".join(show(registry, entry.kind, entry.name) for entry in found)


def show_settings(part: str) -> str:
    """Return the settings of a part that every training has: `train` or `views`."""
    heading, config, recipe = SETTINGS_OF_ALL[part]
    rows = [(f.name, *_describe_shared(f, recipe)) for f in dataclasses.fields(config)]
    if part == "views":
        rows.append((OPS, "all", "", f"only these operations: {', '.join(NAMES)}", "our choice"))
    return f"{heading}\n\n{_format_table(part, rows)}"


def _describe_shared(field: dataclasses.Field[Any], recipe: str) -> tuple[str, str, str, str]:
    """Return what `describe_setting` does of a setting that methods have a value of their own for.

    Args:
        field: of the settings of all trainings.
        recipe: where a value comes from that the method says.
    """
    default, allowed, meaning, source = describe_setting(field)
    is_of_method = recipe == VIEWS_SOURCE or (
        field.default is None and field.name in {f.name for f in dataclasses.fields(Recipe)}
    )
    if not is_of_method:
        return default, allowed, meaning, source
    own = "" if source == OUR_CHOICE else f"; {source}"
    return (
        ("the method's" if default == "none" else f"the method's, else {default}"),
        allowed,
        meaning,
        f"{recipe}{own}",
    )


def show(registry: Registry, kind: str, name: str) -> str:
    """Return all that is known of one plugin: settings, recipe, reference, origin.

    Raises:
        UnknownName: nothing is offered under that name.
        BadPlugin: it cannot be imported.
    """
    families = [e for e in registry.entries(kind) if e.family and name in (e.name, e.full_name)]
    entry = families[0] if families else registry.find(kind, name)
    cls = registry.declared_by(entry)
    blocks = [
        _format_heading(entry, cls),
        _summarise(cls),
        _format_formula(entry, cls),
        _format_settings(entry, cls),
    ]
    if getattr(cls, "recipe", None) is not None:
        blocks.append(_format_recipes(cls))
    blocks.append(format_presets(registry, entry))
    return "\n\n".join(filter(None, blocks))


def _format_recipes(cls: type[Any]) -> str:
    """Return the recipe of a method; two where small images have another than large ones."""
    changes = cls.recipe_for.__func__ is not DeclaredMethod.recipe_for.__func__  # type: ignore[attr-defined]
    recipes = {f"{side} px": _choose_recipe(cls, side) for side in SIDES} if changes else {}
    different = len(set(recipes.values())) > 1
    shown = recipes if different else {"": next(iter(recipes.values()), cls.recipe)}
    text = _format_recipe(shown)
    if changes:
        text += "\n\nSettings or the data may change it; `config.training` of a record is what it came to."
    return text


def _choose_recipe(cls: type[Any], side: int) -> Recipe:
    """Return the recipe of a method for colour images of a size; that of the class where it cannot tell."""
    data = DatasetInfo(classes=tuple("0123456789"), channels=3, size=side)
    try:
        recipe: Recipe = cls.recipe_for(cls.Config(), data, side)
    except Exception:  # noqa: BLE001 - a plugin's own, which a run tells
        recipe = cls.recipe
    return recipe


def _format_recipe(recipes: Mapping[str, Recipe]) -> str:
    """Return recipes beside each other, what several of them say once.

    Args:
        recipes: by what they are for, empty where there is but one.
    """
    every = [key_fields(recipe) for recipe in recipes.values()]
    groups = {where: values.pop("groups", ()) for where, values in zip(recipes, every, strict=True)}
    names = dict.fromkeys(name for values in every for name in values)
    rows = [(name, *(format_value(getattr(recipe, name)) for recipe in recipes.values())) for name in names]
    if len(recipes) == 1:
        table = format_columns(rows)
    else:
        widths = [None, *(SOURCE_WIDTH for _ in recipes)]
        headers = ("", *(f"at {where}" for where in recipes))
        table = indent(tabulate(rows, headers, tablefmt="plain", disable_numparse=True, maxcolwidths=widths))
    text = f"recipe (--set train.NAME=VALUE)\n{table}"
    alike = len(set(groups.values())) == 1
    for where, members in list(groups.items())[: 1 if alike else None]:
        if members:
            heading = "parameters trained in another way" + ("" if alike else f" at {where}")
            text += f"\n\n{heading}\n{format_columns([(g.match, _format_group(g)) for g in members])}"
    return text


def _format_group(group: ParamGroup) -> str:
    values = {name: value for name, value in group.key_fields().items() if name != "match"}
    return ", ".join(f"{name} {format_value(value)}" for name, value in values.items())


def _format_heading(entry: Entry, cls: type[Any]) -> str:
    what = f"family of {entry.kind}" if entry.family else singular(entry.kind)
    facts = {
        "summary": entry.summary,
        "group": entry.group,
        "family": entry.member_of,
        "reference": getattr(cls, "reference", ""),
    }
    origin = {
        "version": getattr(cls, "version", None),
        "from": f"{entry.dist} {entry.version}, {entry.target}",
    }
    return f"{entry.name}: {what}\n{_format_pairs({k: v for k, v in (facts | origin).items() if v})}"


def _summarise(cls: type[Any]) -> str:
    """Return the first paragraph of the module's docstring, or the class's, whichever says more."""
    docs = [
        paragraphs[0] for paragraphs in map(_list_paragraphs, (inspect.getmodule(cls), cls)) if paragraphs
    ]
    return max(docs, key=len, default="")


def _format_formula(entry: Entry, cls: type[Any]) -> str:
    """Return the formulas of a method or an evaluator."""
    text = "\n\n".join(list_formulas(cls)) if entry.kind in ("methods", "evaluators") else ""
    return f"formula\n{indent(text)}" if text else ""


def list_formulas(cls: type[Any]) -> list[str]:
    """Return the indented paragraphs of the docstring of a class's module."""
    paragraphs = _list_paragraphs(inspect.getmodule(cls))
    formulas = [p for p in paragraphs if all(line.startswith("    ") for line in p.splitlines())]
    return [textwrap.dedent(formula) for formula in formulas]


def _list_paragraphs(what: object) -> list[str]:
    """Return the paragraphs of a docstring, their indentation kept."""
    return [
        part.strip("\n")
        for part in inspect.cleandoc(getattr(what, "__doc__", None) or "").split("\n\n")
        if part.strip()
    ]


def _format_settings(entry: Entry, cls: type[Any]) -> str:
    if not hasattr(cls, "Config"):  # a format has nothing to set
        return ""
    part = entry.name if entry.kind == "evaluators" else singular(entry.kind)
    fields = dataclasses.fields(cls.Config)
    if not fields and entry.kind != "datasets":
        return "settings: none"
    root = [(ROOT, *_describe_root(entry))] if entry.kind == "datasets" else []
    return _format_table(part, [*root, *((f.name, *describe_setting(f)) for f in fields)])


def _describe_root(entry: Entry) -> tuple[str, str, str, str]:
    """Return what `describe_setting` does of the folder that every dataset can be told."""
    if entry.of_folder:
        return "required", "", "the folder of your files; it is in no key", ""
    return "none", "", "the folder that holds its files; none: --data-dir. It is in no key", OUR_CHOICE


def _format_table(part: str, rows: Sequence[Sequence[str]]) -> str:
    headers = ("name", "default", "allowed", "meaning", "source")
    table = tabulate(
        rows, headers, tablefmt="plain", disable_numparse=True, maxcolwidths=list(WIDTHS), missingval=""
    )
    return f"settings (--set {part}.NAME=VALUE)\n{indent(table)}"


def describe_setting(field: dataclasses.Field[Any]) -> tuple[str, str, str, str]:
    """Return a setting's default, allowed values, meaning and source, as `bench show` has them."""
    about: Mapping[str, Any] = field.metadata
    bounds = (("more than", "above"), ("at least", "least"), ("at most", "most"))
    allowed = [f"{word} {about[key]:g}" for word, key in bounds if about.get(key) is not None]
    allowed += map(format_value, about.get("choices", ()))
    required = field.default is dataclasses.MISSING
    default = "required" if required else format_value(field.default)
    return default, ", ".join(allowed), about.get("doc", ""), about.get("source", "")


# ---- layout


def _format_pairs(values: Mapping[str, Any]) -> str:
    return format_columns([(name, format_value(value)) for name, value in values.items()])


def format_columns(rows: Sequence[Sequence[str]], by: str = "  ") -> str:
    """Return rows of text in columns, indented."""
    return indent(tabulate(rows, tablefmt="plain", disable_numparse=True), by)

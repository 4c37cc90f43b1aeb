"""Write a distribution that adds one plugin, for `bench plugins new`."""

from __future__ import annotations

import ast
import keyword
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template

from bench.errors import BadValue, UnknownName, suggest
from bench.registry.discovery import PARTS
from bench.registry.registry import Registry, find_meant, singular

TINY = "--dataset digits --backbone test_resnet"
OWN_IMAGES = "--dataset {name} --backbone test_resnet --batch-size 64"
CATALOGUE = "- `{package}/__init__.py` says what there is. Every command imports it, so it imports little."


@dataclass(frozen=True)
class Start:
    """What a new distribution starts from.

    Args:
        template: of the plugin's module.
        summary: of the plugin, for `bench list`.
        commands: that its README has, with `{name}` in place of its name.
        told: what the README says that these do.
        test: template of its test.
    """

    template: str
    summary: str
    commands: tuple[str, ...]
    told: str
    test: str = "test"


CHECK = "bench plugins check {name}"
TRAINS = (
    "The last command trains it on handwritten digits and prints a table, an untrained network beside it."
)


def _start_method(template: str, summary: str, options: str = TINY) -> Start:
    run = f"bench run --method {{name}},random {options} --epochs 5"
    return Start(template, summary, (CHECK, run), TRAINS)


FAMILIES = {
    "byol": _start_method("method-byol", "Predict what a momentum network makes of the other view."),
    "moco": _start_method("method-moco", "Find an image's key among a queue of earlier ones."),
    "swav": _start_method("method-swav", "Predict the prototypes of one view from the others."),
    "mae": _start_method(
        "method-mae",
        "Predict the pixels of hidden patches.",
        "--dataset digits --backbone test_vit --image-size 32",
    ),
}  # of methods, by the one that a new one is like

STARTS = {
    "methods": _start_method("method", "Pull two views together, spread all images over the sphere."),
    "backbones": Start(
        "backbone",
        "A small convolutional network.",
        (CHECK, "bench run --method simclr,random --backbone {name} --dataset digits --epochs 5"),
        "The last command trains it on handwritten digits and prints a table, its untrained copy beside it.",
    ),
    "datasets": Start(
        "dataset",
        "Noisy stripes, lying or standing.",
        (
            CHECK,
            f"bench run --method simclr,random {OWN_IMAGES} --epochs 5",
        ),
        "The last command trains a network on its images and prints a table, an untrained one beside it.",
    ),
    "evaluators": Start(
        "evaluator",
        "Predict the class whose mean feature is nearest.",
        (CHECK, f"bench run --method random {TINY} --eval {{name}},knn"),
        "The last command evaluates an untrained network with it and with `knn`, and prints a table.",
    ),
    "executors": Start(
        "executor",
        "Give each backbone a new process, one after the other.",
        (CHECK, f"bench run --method random {TINY} --executor {{name}}"),
        "The last command has it make a cell, and prints the table.",
    ),
    "formats": Start(
        "format",
        "A table for Org, the mode of Emacs.",
        (f"bench run --method random {TINY}", "bench table --format {name}"),
        "The last command prints the table of the run before it in this format.",
        "test-format",
    ),
    "loggers": Start(
        "logger",
        "Write a line an epoch and a score.",
        (f"bench run --method simclr {TINY} --epochs 2 --log {{name}}",),
        "After the last command, `results/{name}` has a file of the backbone, a line an epoch and a score.",
        "test-logger",
    ),
    "observers": Start(
        "observer",
        "Write a line an epoch.",
        (f"bench run --method simclr {TINY} --epochs 2",),
        "After the last command, the folder `results/{name}` has a file of the training, a line an epoch.",
        "test-observer",
    ),
}  # by kind; observers are no kind that one asks for by name


def find_start(word: str) -> str:
    """Return the kind of `STARTS` that `word`, singular or plural, means.

    Raises:
        UnknownName: there is no such kind.
    """
    if (kind := find_meant(word, STARTS)) is None:
        known = tuple(map(singular, STARTS))
        raise UnknownName(
            f"--kind: no kind of plugin is named {word!r}.{suggest(word, known)} Known: {', '.join(known)}."
        )
    return kind


def write(name: str, kind: str, output: Path, registry: Registry, like: str | None = None) -> Path:
    """Write the folder of a new distribution and return it.

    Args:
        name: what the plugin will be called on the command line.
        kind: a key of `STARTS`.
        output: where to make the folder.
        registry: of the plugins that there are.
        like: of a method, a key of `FAMILIES` whose parts it starts from.

    Raises:
        UnknownName: there is no such family.
        BadValue: `name` cannot name a plugin or is taken, a family is named for another kind, or the folder
            is there already.
    """
    start = _choose_start(kind, like)
    module = name.replace("-", "_")
    dist, package = f"bench-{name.replace('_', '-')}", f"bench_{module}"
    _refuse_name(name, kind, package, registry)
    folder = output / dist
    if folder.exists():
        raise BadValue(f"{folder}: it is there already. Choose another name or --output.")
    cls = "".join(part.capitalize() for part in module.split("_"))
    is_used = cls in _list_names(start.template)
    is_observer = kind == "observers"
    values = {
        "name": name,
        "module": module,
        "dist": dist,
        "package": package,
        "kind": singular(kind),
        "kinds": kind,
        "cls": cls + singular(kind).capitalize() if is_used else cls,
        "summary": start.summary,
        "entry": f"{package}.{module}" if is_observer else package,
        "about": start.summary[0].lower() + start.summary[1:],
        "commands": "\n".join(start.commands).format(name=name),
        "told": start.told.format(name=name),
        "imported": "Every command imports it, so it imports little." if is_observer else "Change it.",
        "catalogue": "" if is_observer else CATALOGUE.format(package=package) + "\n",
    }
    catalogue = "package" if is_observer else "catalogue"
    for template, path in (
        ("pyproject", "pyproject.toml"),
        ("readme", "README.md"),
        (catalogue, f"{package}/__init__.py"),
        (start.template, f"{package}/{module}.py"),
        (start.test, f"tests/test_{module}.py"),
    ):
        _fill_template(template, folder / path, values)
    (folder / package / "py.typed").touch()
    return folder


def _choose_start(kind: str, like: str | None) -> Start:
    if like is None:
        return STARTS[kind]
    if kind != "methods":
        raise BadValue(f"--like: it is for --kind method, this is a {singular(kind)}. Leave it out.")
    if like not in FAMILIES:
        known = ", ".join(FAMILIES)
        raise UnknownName(f"--like: no start is named {like!r}.{suggest(like, FAMILIES)} Known: {known}.")
    return FAMILIES[like]


def _refuse_name(name: str, kind: str, package: str, registry: Registry) -> None:
    """Refuse a name that cannot name a plugin of a kind, or does so already.

    Raises:
        BadValue: see above.
    """
    is_word = re.fullmatch(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*", name)
    if not is_word or keyword.iskeyword(name):
        raise BadValue(f"{name!r} cannot name a plugin. Use small letters, digits, - and _, e.g. my-method.")
    if kind == "evaluators" and name in PARTS:
        raise BadValue(f"{name!r} is a part of `--set` already. Choose another name.")
    for entry in registry.entries(kind):
        if name in (registry.family_names(entry) if entry.family else (entry.name,)):
            raise BadValue(
                f"{name!r}: {entry.dist} {entry.version} has a {singular(kind)} of this name already. "
                "Choose another name."
            )
    for plugin in registry.plugins:
        if plugin.module.partition(".")[0] == package:
            raise BadValue(f"{name!r}: {plugin.dist} has a package {package} already. Choose another name.")


def _list_names(template: str) -> set[str]:
    """Return the names that the module of a template uses or binds, its class's own left out."""
    tree = ast.parse(Template(_read_template(template)).safe_substitute(cls="_", name="_"))
    nodes = list(ast.walk(tree))
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    names |= {node.name for node in nodes if isinstance(node, (ast.alias, ast.ClassDef, ast.FunctionDef))}
    return names


def _read_template(template: str) -> str:
    return (files("bench.registry") / "templates" / f"{template}.txt").read_text(encoding="utf-8")


def _fill_template(template: str, path: Path, values: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(Template(_read_template(template)).substitute(values), encoding="utf-8")

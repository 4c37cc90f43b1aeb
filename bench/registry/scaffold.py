"""Write a distribution that adds one plugin: what `bench plugins new` makes."""

from __future__ import annotations

import keyword
import re
from importlib.resources import files
from pathlib import Path
from string import Template

from bench.errors import BadValue
from bench.registry.registry import singular

SUMMARIES = {
    "methods": "Pull two views together, spread all images over the sphere.",
    "backbones": "A small convolutional network.",
    "datasets": "Noisy stripes, lying or standing.",
    "evaluators": "Predict the class whose mean feature is nearest.",
}


def write(name: str, kind: str, output: Path) -> Path:
    """Write the folder of a new distribution and return it.

    Args:
        name: what the plugin will be called on the command line.
        kind: `methods`, `backbones`, `datasets` or `evaluators`.
        output: where to make the folder.

    Raises:
        BadValue: there is no template for the kind, `name` cannot name a module, or the folder is
            there already.
    """
    if kind not in SUMMARIES:
        known = ", ".join(map(singular, SUMMARIES))
        raise BadValue(f"--kind {singular(kind)}: there is no template. Known: {known}.")
    module = name.replace("-", "_")
    if not re.fullmatch(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*", name) or keyword.iskeyword(module):
        raise BadValue(f"{name!r} cannot name a plugin. Use small letters, digits, - and _, e.g. my-method.")
    dist, package = f"bench-{name.replace('_', '-')}", f"bench_{module}"
    folder = output / dist
    if folder.exists():
        raise BadValue(f"{folder}: it is there already. Choose another name or --output.")
    words = {
        "name": name,
        "module": module,
        "dist": dist,
        "package": package,
        "kind": singular(kind),
        "kinds": kind,
        "cls": "".join(part.capitalize() for part in module.split("_")),
        "summary": SUMMARIES[kind],
    }
    _fill("pyproject", folder / "pyproject.toml", words)
    _fill("catalogue", folder / package / "__init__.py", words)
    _fill(singular(kind), folder / package / f"{module}.py", words)
    _fill("test", folder / "tests" / f"test_{module}.py", words)
    return folder


def _fill(template: str, path: Path, words: dict[str, str]) -> None:
    text = (files("bench.registry") / "templates" / f"{template}.txt").read_text(encoding="utf-8")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(Template(text).substitute(words), encoding="utf-8")

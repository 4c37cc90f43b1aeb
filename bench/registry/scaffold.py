"""Write a distribution that adds one plugin, for `bench plugins new`."""

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
        kind: a key of `SUMMARIES`.
        output: where to make the folder.

    Raises:
        BadValue: there is no template of this kind, `name` cannot name a module, or the folder is there
            already.
    """
    if kind not in SUMMARIES:
        kinds = ", ".join(map(singular, SUMMARIES))
        raise BadValue(
            f"--kind {singular(kind)}: there is no template for it, see docs/plugins.md. Known: {kinds}."
        )
    module = name.replace("-", "_")
    if not re.fullmatch(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*", name) or keyword.iskeyword(module):
        raise BadValue(f"{name!r} cannot name a plugin. Use small letters, digits, - and _, e.g. my-method.")
    dist, package = f"bench-{name.replace('_', '-')}", f"bench_{module}"
    folder = output / dist
    if folder.exists():
        raise BadValue(f"{folder}: it is there already. Choose another name or --output.")
    values = {
        "name": name,
        "module": module,
        "dist": dist,
        "package": package,
        "kind": singular(kind),
        "kinds": kind,
        "cls": "".join(part.capitalize() for part in module.split("_")),
        "summary": SUMMARIES[kind],
    }
    _fill_template("pyproject", folder / "pyproject.toml", values)
    _fill_template("catalogue", folder / package / "__init__.py", values)
    _fill_template(singular(kind), folder / package / f"{module}.py", values)
    _fill_template("test", folder / "tests" / f"test_{module}.py", values)
    return folder


def _fill_template(template: str, path: Path, values: dict[str, str]) -> None:
    text = (files("bench.registry") / "templates" / f"{template}.txt").read_text(encoding="utf-8")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(Template(text).substitute(values), encoding="utf-8")

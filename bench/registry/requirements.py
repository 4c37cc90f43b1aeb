"""What a distribution says that it needs, against what is installed."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, version


def find_unmet(dist: Distribution) -> Iterator[tuple[str, str]]:
    """Yield the name of each requirement that is not met, with a line on what was found and what to do.

    Extras are left out, and what cannot be read as a requirement is met: whoever installed it has said so.

    Args:
        dist: whose `Requires-Dist` and `Requires-Python` are read.
    """
    lines = dist.metadata.get_all("Requires-Dist") or []
    python = (dist.metadata.get_all("Requires-Python") or [""])[0]
    if not lines and not python:
        return
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    for line in lines:
        try:
            needed = Requirement(line)
        except InvalidRequirement:
            continue
        if needed.marker and not needed.marker.evaluate({"extra": ""}):
            continue
        asked = f"{needed.name}{needed.specifier}"
        try:
            found = version(needed.name)
        except PackageNotFoundError:
            yield needed.name, f"it needs {asked}, which is not installed. Use pip install '{asked}'."
            continue
        if not needed.specifier.contains(found, prereleases=True):
            advice = f"Use pip install '{asked}', or another version of {dist.metadata['Name']}."
            yield needed.name, f"it needs {asked}, and {needed.name} {found} is installed. {advice}"
    try:
        specifier = SpecifierSet(python)
    except InvalidSpecifier:
        return
    if not specifier.contains(platform.python_version(), prereleases=True):
        yield "python", f"it needs Python {python}, and this is {platform.python_version()}. Use that one."

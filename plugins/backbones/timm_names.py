"""List timm's models without importing timm, which would bring torch: planning must start at once."""

from __future__ import annotations

import importlib.util
import re
from functools import cache
from pathlib import Path

_REGISTERED = re.compile(r"^@register_model\n(?:@.*\n)*def (\w+)\(", re.MULTILINE)


@cache
def timm_names() -> tuple[str, ...]:
    """Return every name that `timm.list_models()` has, in its order; none where timm is not installed."""
    spec = importlib.util.find_spec("timm")
    if spec is None or spec.origin is None:
        return ()
    names: set[str] = set()
    for path in (Path(spec.origin).parent / "models").glob("*.py"):
        names.update(_REGISTERED.findall(path.read_text(encoding="utf-8")))
    return tuple(sorted(names, key=_natural))


def _natural(name: str) -> list[int | str]:
    """Return a key that puts resnet50 before resnet101."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]

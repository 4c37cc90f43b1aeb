"""Write down how far a cell's number can be trusted: the deviation over its seeds, its interval, or both."""

from __future__ import annotations

from bench.errors import UnknownName, suggest
from bench.reporting.evidence import Bounds
from bench.reporting.pivot import SeedGroup

AUTO = "auto"  # the deviation over several seeds, the interval of one
CHOICES = (AUTO, "std", "interval", "both", "none")


def check_choice(shown: str) -> None:
    """Refuse what is no choice.

    Raises:
        UnknownName: it is none of `CHOICES`.
    """
    if shown not in CHOICES:
        raise UnknownName(f"--uncertainty: there is no {shown!r}.{suggest(shown, CHOICES)}")


def shows_deviation(shown: str) -> bool:
    """Tell whether cells of several seeds have their deviation."""
    return shown in (AUTO, "std", "both")


def shows_interval(shown: str, group: SeedGroup) -> bool:
    """Tell whether a cell has its interval, if there is one."""
    return shown in ("interval", "both") or (shown == AUTO and group.n == 1)


def format_uncertainty(shown: str, group: SeedGroup, bounds: Bounds | None) -> str:
    """Return what stands behind a cell's mean; nothing where nothing is known or asked for."""
    digits, text = group.decimals, ""
    if shows_deviation(shown) and group.std is not None:
        text += f" ± {group.std:.{digits}f}"
    if shows_interval(shown, group) and bounds is not None:
        text += f" [{bounds.low:.{digits}f}, {bounds.high:.{digits}f}]"
    return text

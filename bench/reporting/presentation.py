"""How a table is shown: nothing here changes a number or what is compared."""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.published.results import PublishedResult
from bench.reporting.naming import Names


@dataclass(frozen=True)
class Presentation:
    """What a table looks like.

    Args:
        digits: decimals of every metric that is no count; none are each metric's own.
        sort: `name`, the heading of a row axis or a column, or a part of a column's: of a column, the best
            comes first. Empty is the order of the records.
        transpose: what goes down goes across; whatever is said of rows and columns is meant before that.
        names: what stands for names of axes, values and metrics.
        required: names that have to be in the table.
        label: what a paper's reference and a page's anchor call it.
        published: results to put the nearest of beside ours; none puts none.
    """

    digits: int | None = None
    sort: str = ""
    transpose: bool = False
    names: Names = field(default_factory=Names)
    required: tuple[str, ...] = ()
    label: str = ""
    published: tuple[PublishedResult, ...] | None = None


USUAL = Presentation()

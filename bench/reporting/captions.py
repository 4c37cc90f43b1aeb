"""What a table says above itself: what all cells share, and what must be known to read them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.reporting.axes import CELL, Survey
from bench.reporting.formats.base import format_value
from bench.reporting.headings import ROLES, label
from bench.reporting.metric_choice import GAP, in_percent
from bench.reporting.pivot import Layout, TableGrid
from bench.reporting.protocols import describe_mixture

LISTED = 4  # values of a setting that a caption lists before it says only that they differ
DIAGONAL = "†"


def caption(found: Survey, grid: TableGrid) -> str:
    """Return the caption of a table, without how the best are marked."""
    return " ".join(f"{sentence}." for sentence in _sentences(found, grid))


def _sentences(found: Survey, grid: TableGrid) -> Iterator[str]:
    what = join_words([_measure(metric, grid) for metric in grid.layout.measures.metrics])
    common = [*_common_cell(found, grid.layout), *_common_settings(found, grid.layout)]
    yield ", ".join(filter(None, (what, _seeds(found, grid)))) + "; " * bool(common) + ", ".join(common)
    if found.ambiguous:
        yield (
            f"{found.ambiguous} records differ from another of their seed in nothing that is named (older "
            "data, another version): they are told apart by key and not averaged"
        )
    yield from _lacking(grid)
    yield from _supervision(found, grid.layout)
    mixture = describe_mixture(grid)
    if mixture:
        yield mixture[0].upper() + mixture[1:]
    if any(cell.on_diagonal and cell.values for cell in grid.cells.values()):
        yield f"{DIAGONAL}: trained and evaluated on the same data set"


def _lacking(grid: TableGrid) -> Iterator[str]:
    """Yield which evaluators have none of some metrics that were asked for."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for evaluator, metrics in grid.layout.measures.lacking().items():
        alike.setdefault(tuple(metrics), []).append(evaluator)
    for lacked, evaluators in alike.items():
        have = "has" if len(evaluators) == 1 else "have"
        yield f"{join_words(evaluators)} {have} no {join_words(lacked, 'or')}"


def join_words(names: Sequence[str], last: str = "and") -> str:
    """Return names as one says them: `a, b and c`."""
    return f" {last} ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _measure(metric: str, grid: TableGrid) -> str:
    down = not all(cell.higher_is_better for cell in grid.cells.values() if cell.metric == metric)
    unit = " in percentage points" if metric == GAP else " in percent" if in_percent(metric) else ""
    return metric + unit + " (lower is better)" * down


def _seeds(found: Survey, grid: TableGrid) -> str:
    if "seed" in (*grid.layout.rows, *grid.layout.cols):
        return ""
    seeds, n = found.values("seed"), grid.common_n
    if len(seeds) == 1:
        return f"seed {format_value(seeds[0])}"
    if all(len(cell.values) < 2 for cell in grid.cells.values()):
        return "one seed a cell"
    return "mean ± std over seeds" + (f" (n={n})" if n else "")


def _common_cell(found: Survey, layout: Layout) -> Iterator[str]:
    for axis in CELL:
        values = [value for value in found.values(axis) if value is not None]
        if axis in (*layout.rows, *layout.cols) or found.varies(axis) or not values:
            continue
        if axis in ROLES and layout.crossed:
            yield f"{ROLES[axis]} {values[0]}"
        elif axis != "eval_dataset":
            yield f"{axis} {label(axis, values[0])}"


def _common_settings(found: Survey, layout: Layout) -> Iterator[str]:
    """Yield what was set alike for all; a setting that follows from another axis is not hidden."""
    for name in dict.fromkeys((*found.named, "train.epochs")):
        values = [format_value(value) for value in found.values(name) if value is not None]
        if name in (*layout.rows, *layout.cols) or not values:
            continue
        yield f"{name} {' or '.join(values) if len(values) <= LISTED else 'differs'}"


def _supervision(found: Survey, layout: Layout) -> Iterator[str]:
    """Yield which methods saw how many of the training labels, if any method did."""
    seen = [(point, (point.record.get("protocol") or {}).get("training_labels")) for point in found.points]
    shares = [(point.at["method"], share, point.at["label_frac"]) for point, share in seen if share]
    if not shares:
        return
    methods = list(dict.fromkeys(method for method, _, _ in shares))
    who = f"{' and '.join(methods)} {'is' if len(methods) == 1 else 'are'} trained with"
    if all(share == 1 for _, share, _ in shares):
        yield f"{who} all labels"
    elif all(share == (1 if fraction is None else fraction) for _, share, fraction in shares):
        yield f"{who} {_share(found, layout)}" + ", all where there is none" * (
            None in {fraction for _, _, fraction in shares}
        )
    else:
        yield f"{who} labels"


def _share(found: Survey, layout: Layout) -> str:
    for axes, place in ((layout.rows, "row"), (layout.cols, "column")):
        if "label_frac" in axes:
            return f"the share of the labels that is named in the {place}"
    return f"{label('label_frac', found.values('label_frac')[-1])} of the labels"

"""Draw what a score cost: accuracy against passes, seconds, parameters, operations; and the Pareto front."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from bench.errors import UnknownName
from bench.report.figure import Figure
from bench.report.markup import to_name
from bench.report.results import Results
from bench.report.section import Draft, Section, draw_within
from bench.report.series import REACH, SCORE_COLUMNS, Names, is_drawable, list_numbers, reach_of
from bench.report.styles import UNTRAINED
from bench.report.svg import Axis, Point, Spot, draw_spots
from bench.reporting.formats.base import Table, TableCell
from bench.reporting.metric_choice import is_in_percent
from bench.reporting.table import build_table

TITLES = {  # of costs, by the metric that `bench table` knows them by
    "forward_passes": "images through the backbone in training",
    "seconds_pretrain": "seconds of training",
    "params": "parameters",
    "flops": "operations of one image (FLOPs)",
}
OF_TRAINING = ("forward_passes", "seconds_pretrain")  # 0 where nothing is trained
WIDE = 20.0  # times the least cost: from there on the axis is logarithmic
LIMIT = 150_000  # letters of all charts
FRONT = (
    "The line leads along the Pareto front, the filled points: no other costs as little and scores better. "
    "Costs are means over seeds."
)
COLUMNS = ("method", "cost", *SCORE_COLUMNS, "on the front")

Costs = Mapping[tuple[Any, ...], float]  # of a cell, by what tells it from others


@dataclass(frozen=True)
class Offer:
    """A score and what it costs.

    Args:
        name: of the method, with the settings that differ.
        cost: at least 0.
        cell: the score.
    """

    name: str
    cost: float
    cell: TableCell

    @property
    def score(self) -> float:
        """The mean over seeds."""
        return self.cell.mean or 0.0


def build_costs(results: Results, table: Table, names: Names) -> Section:
    """Return the section of scores against costs.

    Args:
        results: what the report is of.
        table: the grid, under its headlines.
        names: of points and charts.
    """
    known = {cost: costs for cost in TITLES if (costs := list_costs(results, cost))}
    missing = [TITLES[cost] for cost in TITLES if cost not in known]
    tasks: dict[tuple[str, str], list[TableCell]] = defaultdict(list)
    for cell in sorted(table.cells(), key=_least_labels_last):
        if is_drawable(cell) and cell.higher_is_better is not None:
            tasks[names.facet_of(cell), cell.metric].append(cell)
    drawn = draw_within(
        (
            Draft(
                f"{facet or metric} against {TITLES[cost]}",
                partial(draw_task, facet, metric, cost, list_offers(cells, cost, known[cost], names), names),
                {"cost": TITLES[cost], "task": facet or metric},
            )
            for (facet, metric), cells in tasks.items()
            for cost in known
        ),
        LIMIT,
    )
    notes = (
        FRONT if drawn.figures else "",
        f"No record says: {', '.join(missing)}." if missing else "",
        drawn.describe_left_out("`bench table --metric` prints costs, too."),
    )
    return Section("costs", "What it costs", notes, tuple(drawn.figures), drawn.choices)


def list_costs(results: Results, cost: str) -> Costs:
    """Return the mean cost of each cell that has one, by its axes."""
    try:
        table = build_table(results.records, metric=[cost], mix_protocols=True, folder=results.folders)
    except UnknownName:  # no record says it
        return {}
    return {
        _identify(cell): cell.mean for cell in table.cells() if cell.mean is not None and is_drawable(cell)
    }


def list_offers(cells: Sequence[TableCell], cost: str, costs: Costs, names: Names) -> list[Offer]:
    """Return the cells of a task that have a cost, each with it."""
    offers = []
    for cell in cells:
        value = costs.get(_identify(cell))
        if cost in OF_TRAINING and names.roles.get(cell.axes["method"]) == UNTRAINED:
            value = 0.0
        if value is not None and value >= 0:
            offers.append(Offer(names.series_of(cell), value, cell))
    return offers


def find_front(offers: Sequence[Offer]) -> list[Offer]:
    """Return the offers that no other beats: none costs as little and scores better, or less and as well.

    Args:
        offers: of one metric, with a direction.
    """
    front: list[Offer] = []
    for one in sorted(offers, key=lambda offer: (offer.cost, -_merit(offer))):
        if not front or _merit(one) > _merit(front[-1]) or _ties(one, front[-1]):
            front.append(one)
    return front


def draw_task(facet: str, metric: str, cost: str, offers: Sequence[Offer], names: Names) -> Figure | None:
    """Return the chart of a task against a cost; none where fewer than two cells have both."""
    if len(offers) < 2:
        return None
    front = find_front(offers)
    spots = [
        Spot(one.name, names.style_of(one.name, one.cell.axes["method"]), one.cost, one.score,
             reach_of(one.cell) or (one.score, one.score), one in front)
        for one in offers
    ]  # fmt: skip
    positive = [one.cost for one in offers if one.cost > 0]
    is_log = bool(positive) and max(positive) > WIDE * min(positive)
    score = f"{metric} in percent" if is_in_percent(metric) else metric
    steps: list[Point] = [(one.cost, one.score) for one in front]
    title = f"{f'{facet}: ' if facet else ''}{metric} against {TITLES[cost]}"
    return Figure(
        name=to_name("cost", cost, facet, metric),
        title=title,
        caption=f"Bars are {REACH}.",
        svg=draw_spots(title, spots, steps, Axis(TITLES[cost], is_log=is_log), Axis(score)),
        columns=COLUMNS,
        rows=tuple(
            (one.name, one.cost, *list_numbers(one.cell), "yes" if one in front else "no") for one in offers
        ),
    )


def _merit(offer: Offer) -> float:
    return -offer.score if offer.cell.higher_is_better is False else offer.score


def _ties(one: Offer, other: Offer) -> bool:
    return (one.cost, one.score) == (other.cost, other.score)


def _least_labels_last(cell: TableCell) -> float:
    return -float(cell.axes.get("label_frac") or 0.0)


def _identify(cell: TableCell) -> tuple[Any, ...]:
    """Return what tells a cell from others, whatever metric it is shown under."""
    return tuple(sorted((axis, str(value)) for axis, value in cell.axes.items()))

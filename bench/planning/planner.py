"""From a request to cells: every combination, resolved, keyed, and checked before training.

A cell is one point of the grid. Its stages form a chain of keys, each a digest of the stage's own
settings and of the key before it: so a backbone is trained once and evaluated many times, and a changed
evaluator retrains nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from bench.boundary import is_fault_of_plugin
from bench.errors import BadPlugin, BadValue
from bench.planning.backbone_planner import BackbonePlanner
from bench.planning.cell_planner import Axes, CellPlanner, Names
from bench.planning.cells import Cell
from bench.planning.checks import check_request
from bench.planning.failure_report import FailureReport
from bench.planning.open_datasets import Datasets
from bench.planning.plans import BackbonePlan
from bench.planning.plugin_choices import PluginChoices
from bench.planning.remarks import describe_same, list_once, list_unused
from bench.planning.request import Request
from bench.registry.registry import Registry
from bench.splits.amounts import LabelAmount

__all__ = ["Cell", "Datasets", "Plan", "Request", "plan", "plan_grid"]

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The cells of a request.

    Args:
        cells: in the order of its axes, each once, those of a backbone together.
        notes: what of the request changes nothing, a line each.
    """

    cells: list[Cell]
    notes: tuple[str, ...]


def plan(request: Request, registry: Registry, datasets: Datasets) -> list[Cell]:
    """Return the cells of `plan_grid`."""
    return plan_grid(request, registry, datasets).cells


def plan_grid(request: Request, registry: Registry, datasets: Datasets) -> Plan:
    """Return the cells of a request, and what of it changes nothing.

    Raises:
        UsageError: something cannot be done whatever the combination, or no combination can work;
            found here, before any training.
    """
    plugins = PluginChoices(registry, datasets, request.auto_precision)
    check_request(request, plugins)
    cells: dict[str, Cell] = {}
    planner = Planner(request, plugins)
    same = []
    for cell in planner.cells():
        first = cells.setdefault(cell.keys.score, cell)
        same.append("" if first is cell else describe_same(first, cell))
    reasons = [cell.why_not for cell in cells.values()]
    if reasons and all(reasons):
        if planner.faults:
            raise BadPlugin(FailureReport.of("plan", planner.faults[0]).reason) from planner.faults[0]
        raise BadValue(str(reasons[0]))
    by_backbone: dict[str, list[Cell]] = {}
    for cell in _mark_varying(cells.values()):
        by_backbone.setdefault(cell.keys.backbone, []).append(cell)
    ordered = [cell for group in by_backbone.values() for cell in group]
    return Plan(cells=ordered, notes=list_once([*planner.notes, *list_unused(request, ordered), *same]))


def _mark_varying(cells: Collection[Cell]) -> Iterator[Cell]:
    """Yield the cells, each with those of its settings that differ within the grid."""
    values: dict[str, set[str]] = {}
    for cell in cells:
        for name, value in cell.settings.items():
            values.setdefault(name, set()).add(repr(value))
    varying = {name for name, written in values.items() if len(written) > 1}
    for cell in cells:
        varied = {name: value for name, value in cell.settings.items() if name in varying}
        yield replace(cell, varied=varied) if varied else cell


class Planner:
    """The grid of one request; what cells have in common is worked out once.

    A plugin that raises when it is asked for something fails the cells that it is in, and no others.
    """

    def __init__(self, request: Request, plugins: PluginChoices) -> None:
        self.request, self.plugins = request, plugins
        self.faults: list[Exception] = []
        self.notes: list[str] = []
        self._backbones = BackbonePlanner(plugins)
        self._cells = CellPlanner(plugins, self._backbones)

    def cells(self) -> Iterator[Cell]:
        """Yield every combination, those that share a backbone one after the other."""
        request = self.request
        for point in itertools.product(*request.settings.values()):
            settings = dict(zip(request.settings, point, strict=True))
            for names in itertools.product(request.dataset, request.backbone, request.method):
                trained = self._attempt(self._backbones.plan, *names, settings)
                self.notes += trained.notes if isinstance(trained, BackbonePlan) else ()
                eval_datasets = request.eval_dataset or names[:1]
                for axes in itertools.product(request.seed, eval_datasets, self._list_evaluations()):
                    yield self._plan_cell(names, trained, axes, settings)

    def _plan_cell(
        self, names: Names, trained: BackbonePlan | FailureReport, axes: Axes, settings: Mapping[str, Any]
    ) -> Cell:
        """Return one cell, as it is planned or as its plan failed."""
        planned: Cell | FailureReport
        if isinstance(trained, FailureReport):
            planned = trained
        else:
            planned = self._attempt(self._cells.plan, trained, axes, settings)
        if isinstance(planned, FailureReport):
            return self._cells.plan_failed(names, axes, settings, planned)
        return planned

    def _attempt(self, plan: Callable[..., T], *args: Any) -> T | FailureReport:
        """Return what is planned, or the report of what a plugin raised meanwhile."""
        try:
            return plan(*args)
        except Exception as error:
            if not is_fault_of_plugin(error):
                raise
            self.faults.append(error)
            return FailureReport.of("plan", error)

    def _list_evaluations(self) -> list[tuple[str, LabelAmount | None]]:
        """Return each evaluator with each amount of labels; with none if it takes none."""
        return [
            (name, amount)
            for name in self.request.evaluator
            for amount in self._list_amounts(self.plugins.plugin("evaluators", name))
        ]

    def _list_amounts(self, evaluator: Any) -> tuple[LabelAmount | None, ...]:
        if not evaluator.takes_fraction:
            return (None,)
        request = self.request
        shares = [LabelAmount(f, keep_one=kept) for kept in request.keep_one for f in request.label_frac]
        return (*(LabelAmount(shots=shots) for shots in request.shots), *shares)

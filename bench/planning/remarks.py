"""Say what of a request changes nothing: what fits no cell, and what is one cell under two names."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from bench.config import format_value
from bench.contracts.dataset_info import NAME, ROOT
from bench.planning.cells import Cell
from bench.planning.request import Request

ROLES = ("method", "backbone", "dataset")  # axes of which a value may be in no cell
SHORT = ("epochs", "batch_size", "precision")  # settings of training that are options of their own


def list_unused(request: Request, cells: Sequence[Cell]) -> Iterator[str]:
    """Yield a line for each setting and each name that is in no cell, with the reason.

    Args:
        request: what was asked for.
        cells: all that came of it; where the plan of one failed, it is not known what applies.
    """
    if any(cell.failure for cell in cells):
        return
    applied = {name for cell in cells for name in cell.settings} | _list_named_files(request)
    trains = any(cell.training for cell in cells)
    for setting in request.settings:
        part, _, field = setting.partition(".")
        if setting in applied:
            continue
        option = f"--{field.replace('_', '-')}" if part == "train" and field in SHORT else f"--set {setting}"
        nothing_trained = part in ("train", "views") and not trains
        why = "nothing is trained" if nothing_trained else "another setting goes before it"
        yield f"{option}: it changes nothing, for {why}."
    asked = [role for role in ROLES if getattr(request, role) != getattr(Request(), role)]
    for role in asked:
        used = {getattr(cell, role).name for cell in cells}
        for name in getattr(request, role):
            if name not in used:
                methods = ", ".join(request.method)
                yield f"--{role} {name}: it is in no cell, for {methods} has a {role} of its own."
    yield from _list_unused_amounts(request, cells)


def _list_named_files(request: Request) -> set[str]:
    """Return the settings that say where data is, or what it is called, and that a data set has them of."""
    asked = {"dataset": request.dataset, "eval_dataset": request.eval_dataset or request.dataset}
    return {
        name if name in request.settings else f"{role}.{field}"
        for role, names in asked.items()
        for field in (ROOT, NAME)
        for name in (f"{plugin}.{field}" for plugin in names)
    }


def _list_unused_amounts(request: Request, cells: Sequence[Cell]) -> Iterator[str]:
    """Yield a line for each option about the amount of labels that no cell has."""
    usual, evaluators = Request(), ", ".join(request.evaluator)
    is_asked = request.label_frac not in ((), usual.label_frac)  # there are none where shots are asked for
    if is_asked and all(cell.label_frac is None for cell in cells):
        yield f"--label-frac: it changes nothing, for {evaluators} takes no share of the labels."
    if request.shots and all(cell.shots is None for cell in cells):
        yield f"--shots: it changes nothing, for {evaluators} takes no share of the labels."
    if any(request.keep_one) and not any(cell.amount and cell.amount.keep_one for cell in cells):
        yield "--keep-one: it changes nothing, for no share of the labels leaves a class without an image."


def describe_same(first: Cell, second: Cell) -> str:
    """Return that two cells of a request are one, by the settings in which they differ; empty if in none."""
    one, other = (_list_changed(own, beside) for own, beside in ((first, second), (second, first)))
    if _write(one) == _write(other):  # 0 and 0.0, say
        return ""
    what = "views" if all(name.startswith("views.") for name in {**one, **other}) else "numbers"
    return f"{_write(one)} and {_write(other)} give {first.method.name} the same {what}: they are one."


def _list_changed(own: Cell, beside: Cell) -> dict[str, Any]:
    """Return the settings of a cell that another has not, or at another value."""
    return {
        name: value
        for name, value in own.settings.items()
        if name not in beside.settings or repr(beside.settings[name]) != repr(value)
    }


def _write(settings: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={format_value(value)}" for name, value in settings.items()) or "the defaults"


def list_once(lines: Collection[str]) -> tuple[str, ...]:
    """Return lines that say something, each once, in their order."""
    return tuple(dict.fromkeys(filter(None, lines)))

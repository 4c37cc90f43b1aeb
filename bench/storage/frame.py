"""Records as a pandas frame."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from bench.errors import UsageError
from bench.storage.record_fields import flatten, settings_of
from bench.storage.records import FIRST, Record, RecordStore

RESCALED = frozenset({"train.lr", "train.warmup_epochs"})  # set before, recorded after scaling
STAGES = ("pretrain", "features", "evaluate")
OTHER_COSTS = ("peak_mb", "params", "features_images_per_s")


def results(folder: str | Path = "results") -> pd.DataFrame:
    """Return all records as a tidy frame, one row a metric; a cell without metrics has one row.

    A column named as in `--set` holds what was set or, where nothing was, what the record's config
    says; `train.lr` and `train.warmup_epochs` are empty there, as the recipe's are on another scale.

    Args:
        folder: the results folder.

    Raises:
        UsageError: there is no such folder.
    """
    import pandas as pd

    if not Path(folder).is_dir():
        raise UsageError(f"no records in {folder}: there is no such folder. Run `bench run` first.")
    records = list(RecordStore(Path(folder)).records())
    named = sorted({name for record in records for name in record.get("settings") or {}})
    stages = sorted({s for r in records for s in _cost_columns(r).get("seconds") or {}} - set(STAGES))
    seconds = [f"seconds_{stage}" for stage in (*STAGES, *stages)]
    columns = [*FIRST, "status", "metric", "value", *named]
    columns += ["images_per_s", *seconds, *OTHER_COSTS]
    rows = (row for record in records for row in _rows(record, named, (*STAGES, *stages)))
    frame: pd.DataFrame = pd.DataFrame(list(rows), columns=pd.Index(columns))
    return frame


def _rows(record: Record, named: list[str], stages: Iterable[str]) -> Iterator[tuple[Any, ...]]:
    cell, cost = record["cell"], _cost_columns(record)
    places = {**cell, "eval_dataset": cell.get("eval_dataset") or cell["dataset"]}
    config = {name: value for name, value in flatten(record).items() if name not in RESCALED}
    values = {**config, **settings_of(record)}
    seconds = cost.get("seconds") or {}
    head = (*(places.get(name) for name in FIRST), record["status"])
    tail = (*(values.get(name) for name in named), cost.get("images_per_s", math.nan))
    tail += (
        *(seconds.get(stage, math.nan) for stage in stages),
        *(cost.get(name, math.nan) for name in OTHER_COSTS),
    )
    metrics = record.get("metrics") or {}
    for name, metric in metrics.items():
        yield (*head, name, metric["value"], *tail)
    if not metrics:
        yield (*head, None, math.nan, *tail)


def _cost_columns(record: Mapping[str, Any]) -> dict[str, Any]:
    return record.get("cost") or {}

"""Read records as a pandas frame."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UsageError
from bench.keys import digest
from bench.plain_text import escape_halves
from bench.storage.data_names import name_data
from bench.storage.presence import is_folder
from bench.storage.record_fields import PASSES, flatten, settings_of
from bench.storage.records import IDENTITY, Record, RecordStore

if TYPE_CHECKING:
    import pandas as pd

RESCALED = frozenset({"train.lr", "train.warmup_epochs"})  # recorded after scaling, unlike what is set
USUAL_STAGES = ("pretrain", "features", "evaluate")
OTHER_COSTS = ("params", "features_images_per_s")


def results(folder: str | Path = "results") -> pd.DataFrame:
    """Return all records as a tidy frame, one row a metric; a cell without metrics has one row.

    A column named as in `--set` holds what was set or, where nothing was, what the record's config
    says; `train.lr` and `train.warmup_epochs` are empty there, as the recipe's are on another scale.
    `configuration` is the same where records differ in their seed alone.

    Args:
        folder: the results folder.

    Raises:
        UsageError: there is no such folder.
    """
    import pandas as pd

    if not is_folder(Path(folder)):
        raise UsageError(f"no records in {folder}: there is no such folder. Run `bench run` first.")
    records = list(RecordStore(Path(folder)).records())
    settings = sorted({name for record in records for name in record.get("settings") or {}})
    stages = _list_stages(records)
    columns = [*IDENTITY, "configuration", "status", "metric", "value", *settings, "images_per_s"]
    columns += [f"seconds_{stage}" for stage in stages]
    columns += [*(f"peak_mb_{stage}" for stage in USUAL_STAGES), "peak_mb", *OTHER_COSTS, *PASSES]
    pairs = zip(records, name_data(records), strict=True)
    rows = [row for record, names in pairs for row in _list_rows(record, names, settings, stages)]
    frame: pd.DataFrame
    try:
        frame = pd.DataFrame(rows, columns=pd.Index(columns))
    except UnicodeEncodeError:  # pandas keeps text as UTF-8 where it can, which holds no half of a sign
        rows = [tuple(map(_escape, row)) for row in rows]
        frame = pd.DataFrame(rows, columns=pd.Index(list(map(_escape, columns))))
    return frame


def _escape(value: Any) -> Any:
    return escape_halves(value) if isinstance(value, str) else value


def _list_stages(records: Sequence[Record]) -> list[str]:
    """Return the stages that any record says the seconds of; the usual ones come first, always."""
    timed = {stage for record in records for stage in _cost_of(record).get("seconds") or {}}
    return [*USUAL_STAGES, *sorted(timed - set(USUAL_STAGES))]


def _list_rows(
    record: Record, names: tuple[str, str], settings: Sequence[str], stages: Sequence[str]
) -> Iterator[tuple[Any, ...]]:
    """Yield a row for each metric, or one without a metric."""
    cell, cost = record["cell"], _cost_of(record)
    identity = {**cell, "dataset": names[0], "eval_dataset": names[1]}
    config = {name: value for name, value in flatten(record).items() if name not in RESCALED}
    values = {**config, **settings_of(record)}
    seconds, peaks = cost.get("seconds") or {}, _peaks_of(cost)
    start = (*(identity.get(name) for name in IDENTITY), _digest_configuration(record), record["status"])
    end = (
        *(values.get(name) for name in settings),
        cost.get("images_per_s", math.nan),
        *(seconds.get(stage, math.nan) for stage in stages),
        *(peaks.get(stage, math.nan) for stage in USUAL_STAGES),
        max(peaks.values(), default=math.nan),
        *(cost.get(name, math.nan) for name in OTHER_COSTS),
        *(((cost.get("passes") or {}).get("run") or {}).get(name, math.nan) for name in PASSES.values()),
    )
    metrics = record.get("metrics") or {}
    for name, metric in metrics.items():
        yield (*start, name, metric["value"], *end)
    if not metrics:
        yield (*start, None, math.nan, *end)


def _digest_configuration(record: Record) -> str:
    """Return what only records share that differ in their seed alone: these may be averaged."""
    cell = {name: value for name, value in record["cell"].items() if not name.endswith("_name")}
    return digest([{**cell, "seed": None}, record.get("config")])


def _peaks_of(cost: Mapping[str, Any]) -> dict[str, float]:
    """Return the most memory by stage; older records have one number, of the whole process."""
    peak = cost.get("peak_mb")
    by_stage = peak if isinstance(peak, Mapping) else {"": peak}
    return {stage: value for stage, value in by_stage.items() if value is not None}


def _cost_of(record: Record) -> dict[str, Any]:
    return record.get("cost") or {}

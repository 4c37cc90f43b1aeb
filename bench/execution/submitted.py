"""A grid as plain values, from which another machine plans the same cells again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.execution.pipeline import PipelineSpec
from bench.planning.options import Options

WORKER = "local"  # the executor of a worker: what ends its process ends no more than that


def to_plain(options: Options, spec: PipelineSpec, precision: str) -> dict[str, Any]:
    """Return what a worker on another machine plans the grid with.

    Args:
        options: of the run.
        spec: of its workers.
        precision: what `precision=auto` is; it is in keys, so no worker decides it.
    """
    request = options.request(precision)
    of_loggers = {
        f"{name}.{field}": (value,) for name, own in spec.loggers.items() for field, value in own.items()
    }
    return {
        "axes": {name: list(values) for name, values in options.axes.items()},
        "settings": {name: list(values) for name, values in {**request.settings, **of_loggers}.items()},
        "runtime": {
            "data_dir": str(spec.data_dir),
            "device": spec.device,
            "devices": spec.devices,
            "threads": spec.threads,
            "deterministic": spec.deterministic,
            "packed": spec.packed,
            "claims": spec.claims,
            "log": list(spec.loggers),
            "timeout": spec.timeout,
            "retries": spec.retries,
        },
        "blocked": list(spec.blocked),
        "precision": precision,
    }


def to_options(grid: Mapping[str, Any], results: Path, devices: int | None = None) -> Options:
    """Return the options of a worker that makes cells of a grid in a process of its own.

    Args:
        grid: as `to_plain` returns it.
        results: the folder of results.
        devices: that make a cell together; none is as many as were asked for.
    """
    runtime = {**grid["runtime"], "data_dir": Path(grid["runtime"]["data_dir"])}
    runtime["log"] = tuple(runtime["log"])
    if devices:
        runtime["devices"] = devices
    return Options(
        axes={name: tuple(values) for name, values in grid["axes"].items()},
        settings={name: tuple(values) for name, values in grid["settings"].items()},
        runtime={**runtime, "results": results, "executor": WORKER, "retry_failed": True},
    )

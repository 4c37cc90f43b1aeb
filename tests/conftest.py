"""What several test modules share: the registry, and a laboratory that runs tiny grids."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.execution.pipeline import LocalParts, Pipeline, PipelineSpec
from bench.planning.cells import Cell
from bench.planning.open_datasets import Datasets
from bench.planning.planner import plan
from bench.planning.request import Request
from bench.registry.registry import Registry
from bench.storage.artifacts import ArtifactStore
from bench.storage.records import Record, RecordStore
from bench.system.stage_watch import StageWatch

torch.set_num_threads(1)  # on networks this small, threads only wait for each other

PROBES = Path(__file__).parent / "probes"
PROBE = {"method": "probe", "backbone": "tiny"}  # the axes of a cell that the probes watch
SMALL = {
    "dataset.max_train": (48,),
    "train.epochs": (2,),
    "train.batch_size": (16,),
    "train.image_size": (16,),
}


class Lab:
    """A folder of results, and runs of tiny grids in it."""

    def __init__(self, folder: Path, registry: Registry) -> None:
        self.folder, self.registry, self.datasets = folder, registry, Datasets(registry)
        self.store, self.artifacts = RecordStore(folder), ArtifactStore(folder)

    def plan(self, settings: dict[str, Any] | None = None, **axes: Any) -> list[Cell]:
        """Plan a grid; a value alone is an axis of one value, and `None` takes a setting away."""
        merged = {**SMALL, **{name: as_axis(value) for name, value in (settings or {}).items()}}
        usual = {"method": ("random",), "backbone": ("test_resnet",), "evaluator": ("knn",)}
        chosen = {**usual, **{name: as_axis(value) for name, value in axes.items()}}
        kept = {name: values for name, values in merged.items() if values != (None,)}
        return plan(Request(**chosen, settings=kept), self.registry, self.datasets)

    def spec(self, watch: StageWatch | None = None, **changes: Any) -> PipelineSpec:
        """Return the spec of a pipeline with the plugins and datasets of this laboratory."""
        parts = LocalParts(self.registry, self.datasets, watch)
        return PipelineSpec(results=self.folder, local=parts, **changes)

    def pipeline(self, watch: StageWatch | None = None) -> Pipeline:
        """Return a pipeline that remembers nothing, as in a new process."""
        return self.spec(watch).build()

    def run(self, cells: Sequence[Cell]) -> list[Record]:
        return list(self.pipeline().run(cells))

    def beside(self, name: str) -> Lab:
        """Return a laboratory with results of its own."""
        return Lab(self.folder.parent / name, self.registry)

    def artifact(self, key: str) -> Path:
        return self.folder / "artifacts" / key


def as_axis(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def modified_times(folder: Path) -> dict[Path, int]:
    """Return when each file below a folder was last written."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def without_times(record: Record) -> Record:
    """Return a record without what differs from run to run."""
    return {**record, "cost": {}, "provenance": {}}


@pytest.fixture(autouse=True)
def _is_left_as_found() -> Iterator[None]:
    """Refuse what a test leaves changed for the tests after it."""
    before = _describe_process()
    yield
    assert _describe_process() == before


def _describe_process() -> tuple[Any, ...]:
    log = logging.getLogger("bench")
    return (
        log.level,
        log.propagate,
        log.disabled,
        Path.cwd(),
        torch.get_default_dtype(),
        torch.get_num_threads(),
    )


@pytest.fixture(scope="session")
def registry() -> Registry:
    return Registry.load()


@pytest.fixture
def lab(tmp_path: Path, registry: Registry) -> Lab:
    return Lab(tmp_path / "results", registry)


@pytest.fixture
def probes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Install the distribution of the probes, and return its module."""
    monkeypatch.syspath_prepend(PROBES)
    yield importlib.import_module("probes")
    del sys.modules["probes"]


@pytest.fixture
def probing(lab: Lab, probes: Any) -> Lab:
    """Return a laboratory that has the probes."""
    return Lab(lab.folder, Registry.load())

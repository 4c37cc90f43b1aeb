"""A grid is planned and run from Python, by an executor of one's own where one is named."""

from __future__ import annotations

import re
import types
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from conftest import Lab, without_times

from bench.cli import main
from bench.errors import BadValue, CellError, UnknownName
from bench.execution.experiment import Experiment, plan_experiment
from bench.planning.options import merge_options
from bench.registry.registry import Registry
from bench.testing import check_executor

GUIDE = Path(__file__).parents[2] / "docs" / "plugins.md"

GRID = {
    "method": "random",
    "backbone": "test_resnet",
    "eval": "knn",
    "seed": [0, 1],
    "image_size": 16,
    "set": {"dataset.max_train": 48},
    "device": "cpu",
}


def planned(lab: Lab, **options: Any) -> Experiment:
    """Return a small experiment with the plugins of a laboratory."""
    values = {**GRID, "results": str(lab.folder), **options}
    return plan_experiment(merge_options(None, values), lab.registry)


def test_an_experiment_yields_the_records_of_its_cells(lab: Lab) -> None:
    experiment = planned(lab)
    records = list(experiment.run())

    assert type(experiment.executor).__name__ == "InProcess"
    assert [record["status"] for record in records] == ["ok", "ok"]
    assert [experiment.position(record) for record in records] == [0, 1]
    assert [lab.store.find(cell.names, cell.keys.score) for cell in experiment.cells] == records


def test_several_jobs_are_processes(lab: Lab) -> None:
    assert type(planned(lab, jobs=2).executor).__name__ == "Local"


def test_threads_are_shared_out_over_jobs_unless_they_are_given(lab: Lab) -> None:
    with_threads = [planned(lab, jobs=jobs, threads=3) for jobs in (1, 4)]

    assert [experiment.spec.threads for experiment in with_threads] == [3, 3]
    assert {type(experiment.executor).__name__ for experiment in with_threads} == {"Local"}
    assert planned(lab, jobs=4).spec.threads == 1


def test_what_did_not_come_with_bench_is_run_in_a_process_where_that_is_asked_for(probing: Lab) -> None:
    values = {**GRID, "results": str(probing.folder)}
    foreign = {**values, "backbone": "tiny"}
    built_in = Registry.load(blocked=["probes"])
    executors = [
        type(plan_experiment(merge_options(None, options), registry, isolate=isolate).executor).__name__
        for options, registry, isolate in [
            (foreign, probing.registry, True),
            (foreign, probing.registry, False),
            (values, built_in, True),
            (values, probing.registry, True),  # its observers did not come with bench
            ({**foreign, "profile": True}, probing.registry, True),
        ]
    ]

    assert executors == ["Local", "InProcess", "InProcess", "Local", "InProcess"]


def test_an_executor_of_others_makes_the_same_records(probing: Lab) -> None:
    experiment = planned(probing, executor="backwards")
    records = list(experiment.run())
    usual = list(planned(probing.beside("usual")).run())

    assert [experiment.position(record) for record in records] == [1, 0]
    assert [without_times(record) for record in reversed(records)] == [without_times(r) for r in usual]


def test_an_executor_that_leaves_cells_out_is_an_error(probing: Lab, probes: Any) -> None:
    probes.BREAK["forget"] = 1
    experiment = planned(probing, executor="backwards")

    with pytest.raises(CellError, match=r"^Backwards: there is no record of 1 of 2 cells\."):
        list(experiment.run())


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"executor": "backward"}, UnknownName, "no executor is named 'backward'. Did you mean 'backwards'"),
        ({"executor": "in-process", "jobs": 2}, BadValue, "--jobs: 2 processes were asked for"),
        ({"executor": "in-process", "threads": 2}, BadValue, "--threads: in-process has those that this"),
        ({"executor": "backwards", "profile": True}, BadValue, "--profile: it looks at one process."),
        ({"threads": 1, "profile": True}, BadValue, "--profile: it looks at one process."),
    ],
)
def test_what_an_executor_cannot_do_is_refused_before_anything_is_made(
    probing: Lab, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as refused:
        planned(probing, **options)

    assert message in str(refused.value)
    assert not probing.folder.exists()


@pytest.mark.usefixtures("probes")
def test_the_table_has_the_cells_in_their_order_whatever_the_executor(tmp_path: Path) -> None:
    args = ["--method", "random", "--backbone", "tiny,test_resnet", "--eval", "knn", "--image-size", "16"]
    args += ["--set", "dataset.max_train=48", "--results", str(tmp_path / "results"), "--device", "cpu"]
    first = CliRunner().invoke(main, ["run", *args, "--executor", "backwards"])
    second = CliRunner().invoke(main, ["run", *args])

    assert first.exit_code == second.exit_code == 0, first.output
    assert first.stdout == second.stdout
    assert "[1/2] random test_resnet digits seed 0 knn 100 %: top1" in first.stderr


def test_executors_are_listed_and_shown(probes: Any) -> None:
    listed = CliRunner().invoke(main, ["list", "executors"]).stdout
    shown = CliRunner().invoke(main, ["show", "executor", "backwards"]).stdout

    assert [line.split()[0] for line in listed.splitlines()[1:]] == [
        "backwards",
        "in-process",
        "local",
        "slurm",
        "ray",
    ]
    assert shown.startswith("backwards: executor\n")
    assert {entry.name for entry in Registry.load().entries("executors")} >= {
        probes.Backwards.__name__.lower()
    }


def test_the_executor_of_the_guide_keeps_the_contract() -> None:
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    (code,) = (block for block in blocks if "(Executor)" in block)
    module = types.ModuleType("guide")

    exec(code, module.__dict__)  # noqa: S102 - our own documentation

    check_executor(module.OneByOne, "one-by-one")

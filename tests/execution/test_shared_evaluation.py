"""Cells that several processes evaluate: whole ones each, to the bit as one process does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import PROBES, SMALL, Lab, as_axis, without_times
from environment import environment
from safetensors.torch import load_file
from torch._C._distributed_c10d import HashStore

from bench.errors import CellError
from bench.execution.deal import Deal, Dealer, join_fits
from bench.planning.cells import Cell
from bench.planning.failure_report import FailureReport
from bench.storage.artifact_files import PREDICTIONS
from bench.storage.records import Record, RecordStore
from bench.system.board import PIECE_BYTES, Board
from bench.system.ranks import Ranks

FEATURES = ("linear", "mlp", "label-fraction", "knn")
NETWORKS = ("linear-sgd", "finetune", "geometry")
QUICK = {
    "mlp.epochs": 2,
    "mlp.hidden": ((8,),),
    "label-fraction.fractions": ((0.5, 1.0),),
    "label-fraction.draws": ((1, 1),),
    "linear-sgd.epochs": 1,
    "finetune.epochs": 1,
    "finetune.lr_head_grid": ((0.1,),),
    "finetune.lr_backbone_grid": ((0.01,),),
    "geometry.lidar_images": 5,
    "geometry.lidar_views": 2,
}


def names(units: Sequence[Sequence[Cell]]) -> list[list[str]]:
    return [[f"{cell.evaluator.name} {cell.label_frac}" for cell in unit] for unit in units]


def follow(lab: Lab, deal: Deal, board: Board, rank: int = 1) -> None:
    """Do what another process does of a deal."""
    lab.spec().open_stages(torch.device("cpu"))["evaluate"](
        deal.units[0][0], deal, Ranks(rank, 2, board=board)
    )


def dealer(deal: Deal, board: Board, ended: str = "") -> Dealer:
    """Return the leader's part of a deal with one other process, that has ended in some way."""
    return Dealer(deal, board, [1], lambda _rank: ended)


# ---- what is taken together


def test_what_follows_each_other_and_compares_with_one_fit_is_evaluated_together(lab: Lab) -> None:
    one = list(join_fits(lab.plan(evaluator=(*FEATURES, "geometry"))))
    several = list(join_fits(lab.plan(evaluator=("linear", "mlp"), label_frac=(0.5, 1.0))))

    assert names(one) == [
        ["linear 1.0", "mlp 1.0", "label-fraction None"],
        ["knn 1.0"],
        ["geometry None"],
    ]
    assert names(several) == [["linear 0.5"], ["linear 1.0"], ["mlp 0.5"], ["mlp 1.0"]]


def test_a_fit_with_other_settings_or_of_other_features_is_not_shared(lab: Lab) -> None:
    settings = list(join_fits(lab.plan({"linear.max_iter": 7}, evaluator=("linear", "mlp"))))
    blocks = list(join_fits(lab.plan({"linear.blocks": 2}, evaluator=("linear", "mlp"), backbone="resnet18")))

    assert names(settings) == names(blocks) == [["linear 1.0"], ["mlp 1.0"]]


# ---- who takes what


def test_the_others_take_the_last_cells_and_the_leader_what_nobody_has(lab: Lab) -> None:
    cells = lab.plan(evaluator="knn", seed=(0, 1, 2, 3))
    deal, board, made = Deal("deal", [[cell] for cell in cells]), Board(HashStore()), list[int]()
    leader = dealer(deal, board)

    def make(cell: Cell) -> int:
        """Make a cell; after the second, the leader takes its first two."""
        made.append(cell.seed)
        if len(made) == 2:
            assert leader.get(cells[0]) is leader.get(cells[1]) is None
            assert not leader.is_over()
        return cell.seed

    deal.work(board, 1, make)

    assert made == [3, 2]
    assert [leader.get(cell) for cell in cells] == [None, None, 2, 3]
    assert leader.is_over()


def test_of_a_process_that_ends_the_cell_it_was_at_fails_and_the_leader_makes_the_others(lab: Lab) -> None:
    cells = lab.plan(evaluator="knn", seed=(0, 1, 2))
    deal, board = Deal("deal", [cells]), Board(HashStore())

    def make(cell: Cell) -> int:
        if cell.seed == 1:
            raise InterruptedError
        return cell.seed

    with pytest.raises(InterruptedError):
        deal.work(board, 1, make)
    leader = dealer(deal, board, "the process of device 1 of 2 ended (SIGKILL)")

    assert leader.get(cells[0]) == 0
    with pytest.raises(CellError, match=r"^the process of device 1 of 2 ended \(SIGKILL\)\. Run again"):
        leader.get(cells[1])
    assert leader.get(cells[2]) is None
    assert leader.is_over()
    assert not leader.wait()


def test_a_value_of_any_size_is_found_whole() -> None:
    board, value = Board(HashStore()), torch.arange(PIECE_BYTES // 3)

    assert board.find("it") is None
    board.leave("it", {"value": value})
    assert torch.equal(board.find("it")["value"], value)


# ---- what comes of it


def require_alike(made: Any, record: Record, folder: Path) -> None:
    """Fail unless an evaluation is what a record says, with the predictions in a folder."""
    described = {**made.described, "cost": {}}
    kept = load_file(folder / PREDICTIONS) if folder.exists() else {}

    assert described == {name: value for name, value in without_times(record).items() if name in described}
    assert kept.keys() == made.predictions.keys()
    assert all(torch.equal(made.predictions[name], value) for name, value in kept.items())


def test_another_process_makes_of_every_evaluator_what_one_process_does(lab: Lab, probing: Lab) -> None:
    known = {entry.name for entry in lab.registry.entries("evaluators")}
    cells = probing.plan(QUICK, backbone="tiny", evaluator=(*FEATURES, *NETWORKS))
    records = probing.run(cells)
    deal, board = Deal("deal", list(join_fits(cells))), Board(HashStore())
    follow(probing, deal, board)
    leader = dealer(deal, board)

    assert {cell.evaluator.name for cell in cells} == known
    assert {record["status"] for record in records} == {"ok"}
    for cell, record in zip(cells, records, strict=True):
        require_alike(leader.get(cell), record, probing.artifact(cell.keys.score))


def test_what_an_evaluator_raises_in_another_process_is_what_the_cell_fails_by(
    probing: Lab, probes: Any
) -> None:
    cells = probing.plan(evaluator=("witness", "knn"))
    probes.BREAK["evaluator"] = True
    failed, _ = probing.run(cells)
    deal, board = Deal("deal", [[cell] for cell in cells]), Board(HashStore())
    follow(probing, deal, board)
    first, second = map(dealer(deal, board).get, cells)

    assert isinstance(first, FailureReport)
    assert (first.stage, first.reason) == (failed["error"]["stage"], failed["reason"])
    assert second.described["metrics"]


@pytest.fixture
def ending(probing: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """Return a laboratory in which a process that is not the first one ends, as soon as it is told to."""
    monkeypatch.setenv("PROBES_SIGN", str(tmp_path / "sign"))
    return probing


def test_a_process_that_is_killed_fails_its_cell_and_the_rest_is_made(ending: Lab) -> None:
    """The first cell waits for another process to have begun its second one, in which that is killed."""
    roles: dict[str, Any] = {"whose.role": ("wait", "end", "say")}
    first, *last = ending.plan(roles, backbone="tiny", evaluator="whose")
    cells = [first, *ending.plan(backbone="tiny", evaluator=("knn", "linear")), *last]
    waited, knn, linear, killed, said = ending.spec(devices=2).build().run(cells)
    alone = ending.beside("alone").run(cells[1:3])

    assert waited["metrics"]["pid"]["value"] == os.getpid() != said["metrics"]["pid"]["value"]
    assert [without_times(record) for record in (knn, linear)] == [without_times(record) for record in alone]
    assert (killed["status"], killed["error"]["stage"]) == ("failed", "evaluate")
    assert killed["reason"].startswith(
        "the process of device 1 of 2 ended (SIGKILL). Run again for this cell"
    )


# ---- by the command


DEVICES = {
    "one": ("-m", "bench"),
    "devices": ("-m", "bench"),
    "torchrun": ("-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "bench"),
}


def run(start: str, folder: Path, *args: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a grid on a tiny backbone with one process, two that the command starts, or two of torchrun."""
    usual = ["run", "--device", "cpu", "--precision", "float32", "--results", str(folder), *args]
    more = ["--devices", "2"] if start == "devices" else ["--threads", "1"] if start == "one" else []
    command = [sys.executable, *DEVICES[start], *usual, *more, *options(SMALL)]
    variables = environment(PROBES, OMP_NUM_THREADS="1", **variables)
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=False)


def options(settings: Mapping[str, Any]) -> list[str]:
    """Return settings as they stand on a command line."""
    words = []
    for name, values in settings.items():
        (value,) = as_axis(values)
        written = f"[{','.join(map(str, value))}]" if isinstance(value, tuple) else value
        words += ["--set", f"{name}={written}"]
    return words


def stored(folder: Path) -> dict[str, Record]:
    """Return the records of a folder by evaluator, and by what `whose` was told."""
    return {
        record["cell"]["evaluator"] + str(record["settings"].get("whose.role", "")): record
        for record in RecordStore(folder).records()
    }


@pytest.mark.long
@pytest.mark.parametrize("start", ["devices", "torchrun"])
def test_two_processes_evaluate_to_the_bit_as_one_does(tmp_path: Path, start: str) -> None:
    alone, several = tmp_path / "alone", tmp_path / "several"
    trained = run("one", alone, "--method", "simclr", "--eval", "knn")
    shutil.copytree(alone, several)
    evaluators = ",".join((*FEATURES, *NETWORKS))
    args = ("--method", "simclr", "--eval", evaluators, "--label-frac", "0.5,1", *options(QUICK))
    done = [run(way, folder, *args) for way, folder in (("one", alone), (start, several))]
    kept = sorted(path.relative_to(alone) for path in alone.rglob(PREDICTIONS))
    one, two = (
        sorted(RecordStore(folder).records(), key=lambda record: str(record["keys"]["score"]))
        for folder in (alone, several)
    )

    assert [process.returncode for process in (trained, *done)] == [0, 0, 0], done[1].stderr
    assert [without_times(record) for record in one] == [without_times(record) for record in two]
    assert len(one) == 2 * 5 + 2
    assert kept == sorted(path.relative_to(several) for path in several.rglob(PREDICTIONS))
    assert len(kept) == len(one) - 1  # geometry predicts nothing
    for path in kept:
        assert (alone / path).read_bytes() == (several / path).read_bytes()


@pytest.mark.long
def test_a_run_whose_process_was_killed_in_an_evaluation_makes_the_rest_and_the_next_run_that(
    tmp_path: Path,
) -> None:
    args = ("--method", "random", "--eval", "whose,knn", "--set", "whose.role=wait,end,say")
    sign = {"PROBES_SIGN": str(tmp_path / "sign")}
    killed = run("devices", tmp_path / "results", *args, **sign)
    records = stored(tmp_path / "results")
    again = run("devices", tmp_path / "results", *args, **sign)

    assert killed.returncode == 1, killed.stderr
    assert records["whoseend"]["reason"].startswith("the process of device 1 of 2 ended (SIGKILL). Run again")
    assert records["whoseend"]["reason"] in killed.stderr
    assert [records[name]["status"] for name in ("whosewait", "whosesay", "knn")] == ["ok"] * 3
    assert again.returncode == 0, again.stderr
    assert {record["status"] for record in stored(tmp_path / "results").values()} == {"ok"}


@pytest.mark.long
def test_an_evaluator_that_exits_in_a_process_of_torchrun_fails_its_cell_alone(tmp_path: Path) -> None:
    args = ("--method", "random", "--eval", "whose", "--set", "whose.role=wait,leave,say")
    done = run("torchrun", tmp_path / "results", *args, PROBES_SIGN=str(tmp_path / "sign"))
    records = stored(tmp_path / "results")

    assert done.returncode == 1
    assert (records["whoseleave"]["status"], records["whoseleave"]["reason"]) == ("failed", "SystemExit: 3")
    assert records["whosewait"]["status"] == records["whosesay"]["status"] == "ok"


@pytest.mark.long
def test_a_run_of_torchrun_ends_with_the_process_that_is_killed_and_the_next_makes_the_rest(
    tmp_path: Path,
) -> None:
    args = ("--method", "random", "--eval", "whose", "--set", "whose.role=wait,end,say")
    done = run("torchrun", tmp_path / "results", *args, PROBES_SIGN=str(tmp_path / "sign"))
    again = run("one", tmp_path / "results", *args, PROBES_SIGN=str(tmp_path / "sign"))

    assert done.returncode != 0
    assert again.returncode == 0, again.stderr
    assert {record["status"] for record in stored(tmp_path / "results").values()} == {"ok"}


@pytest.mark.long
def test_a_method_that_exits_in_one_process_fails_its_cell_and_the_others_are_made(tmp_path: Path) -> None:
    args = ("--method", "probe,random", "--backbone", "tiny", "--eval", "knn")
    done = run("devices", tmp_path, *args, PROBES_LEAVE="2")
    records = {record["cell"]["method"]: record for record in RecordStore(tmp_path).records()}

    assert done.returncode == 1
    assert records["probe"]["reason"].startswith("device 1 of 2: SystemExit: 3")
    assert records["random"]["status"] == "ok"

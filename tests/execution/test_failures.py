"""Cells that fail, are skipped, or find a damaged artifact."""

from __future__ import annotations

import gc
import logging
import shutil
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import PROBE, PROBES, SMALL, Lab, modified_times, without_times
from environment import environment
from photos import photos

from bench.evaluation import features
from bench.execution.endings import KILLED
from bench.execution.failures import StageFailed, in_stage
from bench.storage.artifact_files import BACKBONE


def test_a_failed_cell_says_where_and_why_and_does_not_stop_the_others(
    probing: Lab, probes: Any, caplog: pytest.LogCaptureFixture
) -> None:
    probes.BREAK["evaluator"] = True
    failed, other = probing.run(probing.plan(evaluator=("witness", "knn")))
    stored = probing.store.find(failed["cell"], failed["keys"]["score"])
    error = failed["error"]

    assert (failed["status"], other["status"]) == ("failed", "ok")
    assert failed["reason"] == "LookupError: the witness broke"
    assert (error["stage"], error["type"], error["message"]) == (
        "evaluate",
        "LookupError",
        "the witness\nbroke",
    )
    assert 'raise LookupError("the witness' in error["traceback"]
    assert len(error["traceback"].splitlines()) <= 12
    assert stored == failed
    assert (
        "random test_resnet digits seed 0, witness: evaluate failed. LookupError: the witness broke"
        in caplog.text
    )


def test_a_failed_cell_is_tried_again(probing: Lab, probes: Any) -> None:
    cells = probing.plan(evaluator="witness")
    probes.BREAK["evaluator"] = True
    (failed,) = probing.run(cells)
    probes.BREAK.clear()
    (again,) = probing.run(cells)

    assert (failed["status"], again["status"]) == ("failed", "ok")
    assert (again["error"], again["reason"]) == (None, None)


def test_a_backbone_that_diverged_fails_its_cells_and_is_not_trained_again(probing: Lab, probes: Any) -> None:
    probes.BREAK |= {"how": "nan", "step": 4}
    records = probing.run(probing.plan(**PROBE, evaluator=("knn", "witness"), label_frac=(0.5, 1.0)))

    assert [record["error"]["type"] for record in records] == ["Diverged"] * 4
    assert {record["error"]["stage"] for record in records} == {"pretrain"}
    assert len({record["reason"] for record in records}) == 1
    assert "probe tiny digits seed 0: the loss became nan at step 4" in records[0]["reason"]
    assert "Lower train.lr" in records[3]["reason"]
    assert len(probes.MADE) == 1


def test_a_training_that_breaks_leaves_no_artifact_and_is_done_by_the_next_run(
    probing: Lab, probes: Any
) -> None:
    cells = probing.plan(**PROBE, evaluator=("knn", "linear"))
    probes.BREAK |= {"how": "raise", "step": 5}
    failed = probing.run(cells)
    left = [path for path in (probing.folder / "artifacts").iterdir() if path.name != ".work"]
    probes.BREAK.clear()
    done = probing.run(cells)
    whole = probing.beside("whole").run(cells)

    assert [record["reason"] for record in failed] == ["ArithmeticError: the probe broke"] * 2
    assert left == []
    assert [without_times(record) for record in done] == [without_times(record) for record in whole]
    assert {record["status"] for record in done} == {"ok"}


def test_a_network_that_failed_is_not_kept_in_memory(probing: Lab, probes: Any) -> None:
    probes.BREAK |= {"how": "raise", "step": 1}
    pipeline = probing.pipeline()
    list(pipeline.run(probing.plan(**PROBE)))
    (method,) = map(weakref.ref, probes.MADE)
    probes.MADE.clear()
    gc.collect()

    assert method() is None


@pytest.mark.long
def test_a_process_that_is_killed_leaves_nothing_half_and_the_next_completes(
    probing: Lab, tmp_path: Path
) -> None:
    cells = probing.plan(**PROBE)
    key = cells[0].keys.backbone
    axes = (
        "--method",
        "probe",
        "--backbone",
        "tiny",
        "--eval",
        "knn",
        "--device",
        "cpu",
        "--precision",
        "float32",
        "--executor",
        "in-process",
    )
    small = [text for name, (value,) in SMALL.items() for text in ("--set", f"{name}={value}")]
    command = [sys.executable, "-m", "bench", "run", *axes, *small, "--results", str(probing.folder)]
    killed = subprocess.run(
        command, env=environment(PROBES, PROBES_KILL="4"), cwd=tmp_path, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    left = {path.relative_to(probing.folder).parts[:2] for path in modified_times(probing.folder)}
    (failed,) = probing.store.records()
    (record,) = probing.run(cells)
    (whole,) = probing.beside("whole").run(cells)

    assert killed.returncode == 1, killed.stderr  # of the process that waited for the one that was killed
    assert failed["reason"] == f"its process ended (SIGKILL). {KILLED}"
    assert left <= {("artifacts", ".work"), ("records", "probe")}
    assert (probing.artifact(".work") / f"{key}.lock").exists()
    assert without_times(record) == without_times(whole)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / BACKBONE).write_bytes((folder / BACKBONE).read_bytes()[:-1] + b"?"),
        lambda folder: (folder / BACKBONE).unlink(),
        lambda folder: (folder / "manifest.json").write_text('{"files": {'),
    ],
    ids=["a flipped byte", "a missing file", "a short manifest"],
)
def test_a_damaged_backbone_is_made_again_with_a_warning(
    probing: Lab, probes: Any, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], object]
) -> None:
    (record,) = probing.run(probing.plan({"dataset.max_train": 40}, **PROBE))
    folder = probing.artifact(record["keys"]["backbone"])
    expected = (folder / BACKBONE).read_bytes()
    damage(folder)
    settings = {"dataset.max_train": 40, "eval_dataset.max_train": 30}
    with caplog.at_level(logging.WARNING):
        (other,) = probing.run(probing.plan(settings, **PROBE))

    assert other["keys"]["backbone"] == record["keys"]["backbone"]
    assert "the artifact is damaged: " in caplog.text
    assert f"It is set aside as {folder.name}.rejected, and made again." in caplog.text
    assert len(probes.MADE) == 2
    assert (folder / BACKBONE).read_bytes() == expected


def test_damaged_features_are_made_again_from_the_backbone(probing: Lab, probes: Any) -> None:
    (record,) = probing.run(probing.plan({"knn.k": 3}, **PROBE))
    file = probing.artifact(record["keys"]["features"]["test"]) / features.FILE
    expected = file.read_bytes()
    file.write_bytes(expected[:-1] + b"?")
    (other,) = probing.run(probing.plan({"knn.k": 4}, **PROBE))

    assert other["status"] == "ok"
    assert file.read_bytes() == expected
    assert len(probes.MADE) == 1


def test_features_that_are_not_finite_fail_their_cell(probing: Lab, probes: Any) -> None:
    """The last step of a training is the one whose loss nobody sees."""
    (record,) = probing.run(
        probing.plan({"train.lr": 1e30, "train.epochs": 1, "train.batch_size": 48}, **PROBE)
    )

    assert record["status"] == "failed"
    assert record["error"]["stage"] == "features"
    assert record["reason"].endswith("are not finite. Lower train.lr.")


def test_data_that_cannot_be_read_is_said_to_be_the_stage(probing: Lab, probes: Any, tmp_path: Path) -> None:
    root = photos(tmp_path / "photos", {"train": 8, "test": 2})
    cells = probing.plan({"dataset.root": str(root), "dataset.max_train": None}, dataset="image_folder")
    for path in root.rglob("*.png"):
        path.write_bytes(b"overwritten between planning and loading")
    (record,) = probing.run(cells)

    assert (record["status"], record["error"]["stage"]) == ("failed", "data")


def test_a_combination_that_cannot_work_is_recorded_once_with_its_reason(probing: Lab, probes: Any) -> None:
    cells = probing.plan({"train.image_size": (8, 16)}, backbone="tiny")
    skipped, done = probing.run(cells)
    before = modified_times(probing.folder)
    again = probing.run(cells)

    assert (skipped["status"], done["status"]) == ("skipped", "ok")
    assert skipped["reason"] == "tiny needs 16 px, the images have 8. Set --image-size."
    assert (skipped["metrics"], skipped["error"]) == ({}, None)
    assert again == [skipped, done]
    assert modified_times(probing.folder) == before


def test_a_cell_in_whose_place_lies_another_seeds_record_is_made_again(
    probing: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    cells = probing.plan(seed=(0, 1), **PROBE)
    made = probing.run(cells)
    first, second = (probing.store.path(cell.names, cell.keys.score) for cell in cells)
    shutil.copy(first, second)
    again = probing.run(cells)

    assert [record["cell"]["seed"] for record in again] == [0, 1]
    assert [record["metrics"] for record in again] == [record["metrics"] for record in made]
    assert "holds the record of another cell (probe, knn, seed 0)" in caplog.text
    assert second.with_name(f"{second.name}.rejected").read_bytes() == first.read_bytes()


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 1 GiB free."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("MPS backend out of memory (MPS allocated: 9 GB). Tried to allocate 2 GB."),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory: 9 bytes"
        ),
        MemoryError(),
    ],
    ids=["CUDA", "cuBLAS", "MPS", "CPU", "Python"],
)
@pytest.mark.parametrize(("stage", "advice"), [("pretrain", "train.chunk_size"), ("evaluate", "--jobs")])
def test_a_stage_that_runs_out_of_memory_says_what_to_set(error: Exception, stage: str, advice: str) -> None:
    with pytest.raises(StageFailed) as raised, in_stage(stage):
        raise error

    assert raised.value.report.reason.startswith(f"out of memory in {stage} (")
    assert advice in raised.value.report.reason
    assert len(raised.value.report.reason) < 220


def test_an_error_of_another_kind_is_not_taken_for_a_lack_of_memory() -> None:
    with pytest.raises(StageFailed) as raised, in_stage("pretrain"):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    assert raised.value.report.reason == "RuntimeError: mat1 and mat2 shapes cannot be multiplied"

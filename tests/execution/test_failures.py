"""Cells that fail, are skipped, or find a damaged artifact."""

from __future__ import annotations

import errno
import gc
import logging
import os
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
from safetensors import SafetensorError

from bench.contracts.evaluator import Scores
from bench.errors import CellError
from bench.evaluation import features
from bench.execution.failures import StageFailed, in_stage
from bench.execution.score_checks import refuse_no_score
from bench.planning.failure_report import FailureReport
from bench.pretraining.loss_meter import advise_stability
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


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a-file"), "No space left on device"),
        (OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)), "Disk quota exceeded"),
        (
            SafetensorError("Error while serializing: I/O error: Disk quota exceeded (os error 122)"),
            "Disk quota exceeded",
        ),
    ],
    ids=["full", "a quota", "safetensors at a quota"],
)
def test_a_disk_without_room_says_what_to_do(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    def refuse(*_: Any) -> None:
        raise error

    cells = lab.plan()
    with monkeypatch.context() as full:
        full.setattr(features, "save", refuse)
        (failed,) = lab.run(cells)
    (again,) = lab.run(cells)

    assert failed["reason"] == (
        f"no room on the disk in features ({said}). Free some space, or choose another folder with --results."
    )
    assert failed["error"]["type"] == type(error).__name__
    assert again["status"] == "ok"


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
    assert records[3]["reason"].endswith(
        "Use --set train.lr=0.02 (it is 0.05) or a longer train.warmup_epochs (it is 0.2)."
    )
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
    assert failed["reason"].startswith("its process ended (SIGKILL). It was killed, or memory ran out. Use ")
    assert (failed["error"]["stage"], failed["error"]["signal"]) == ("process", "SIGKILL")
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
    assert " are not finite. Use --set train.lr=3e+29 (it is 1e+30)" in record["reason"]


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
@pytest.mark.parametrize(
    ("stage", "advice"),
    [
        ("pretrain", "Use --set train.chunk_size=8 (16 images at a time were too many), "),
        ("features", "Use fewer --jobs, or a smaller --image-size (it is 16)."),
        ("evaluate", "Use fewer --jobs, a smaller --label-frac, or "),
    ],
)
def test_a_stage_that_runs_out_of_memory_says_what_to_set(
    probing: Lab, error: Exception, stage: str, advice: str
) -> None:
    (cell,) = probing.plan(**PROBE)
    with pytest.raises(StageFailed) as raised, in_stage(stage, cell):
        raise error

    assert raised.value.report.reason.startswith(f"out of memory in {stage} (")
    assert advice in raised.value.report.reason
    assert len(raised.value.report.reason) < 260


def test_an_error_of_another_kind_is_not_taken_for_a_lack_of_memory() -> None:
    with pytest.raises(StageFailed) as raised, in_stage("pretrain"):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    assert raised.value.report.reason == "RuntimeError: mat1 and mat2 shapes cannot be multiplied"


def test_a_long_message_is_cut_and_it_is_said(lab: Lab) -> None:
    def fail(words: str) -> None:
        raise ArithmeticError(words)

    with pytest.raises(ArithmeticError) as raised:
        fail("long " * 10**6 + "end\n" * 20)
    report = FailureReport.of("evaluate", raised.value)
    *frames, said = report.traceback.splitlines()

    assert 4_000 <= len(report.message) < 4_100
    assert report.message.endswith("end\n")
    assert "[4,996,080 of 5,000,080 letters left out]" in report.message
    assert len(report.reason) < 1_100
    assert "raise ArithmeticError(words)" in frames[-1]
    assert said == report.reason
    assert len(report.traceback) < 12 * 1_100


class Unsayable(Exception):
    """An error whose message is one more."""

    def __str__(self) -> str:
        raise LookupError


def test_an_error_that_cannot_be_said_is_told_by_its_type() -> None:
    report = FailureReport.of("evaluate", Unsayable())

    assert report.reason == "Unsayable: (its message cannot be had: LookupError)"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("metric", ["top1", "nll"])
def test_a_score_that_is_no_number_is_none(metric: str, value: float) -> None:
    with pytest.raises(CellError, match=rf"^mine: {metric} is {value}, which is no score\."):
        refuse_no_score("mine", Scores(metrics={"top1": 1.0, metric: value}))


def test_a_measure_without_a_direction_may_be_undefined_but_for_the_headline() -> None:
    undirected = frozenset({"decay", "spread"})
    refuse_no_score(
        "mine", Scores(metrics={"spread": 1.0, "decay": float("nan")}, neither_is_better=undirected)
    )
    with pytest.raises(CellError, match="spread is nan"):
        refuse_no_score("mine", Scores(metrics={"spread": float("nan")}, neither_is_better=undirected))
    with pytest.raises(CellError, match="it returned no metric"):
        refuse_no_score("mine", Scores(metrics={}))


def test_a_cell_whose_score_is_nan_fails_at_its_evaluator(probing: Lab, probes: Any) -> None:
    probes.BREAK["score"] = float("nan")
    failed, other = probing.run(probing.plan(evaluator=("witness", "knn")))

    assert (failed["status"], failed["error"]["stage"], failed["metrics"]) == ("failed", "evaluate", {})
    assert failed["reason"].startswith("witness: top1 is nan, which is no score.")
    assert other["status"] == "ok"


def test_advice_on_divergence_names_the_setting_its_value_and_the_next(probing: Lab) -> None:
    (cell,) = probing.plan({"train.precision": "bfloat16"}, **PROBE)
    assert cell.training

    assert advise_stability(cell.training) == (
        "Use --set train.lr=0.02 (it is 0.05) or --precision float32 (it is bfloat16)."
    )

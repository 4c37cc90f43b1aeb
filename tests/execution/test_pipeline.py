"""The pipeline: what is made once, what is made again, and what becomes of a cell that fails."""

from __future__ import annotations

import gc
import json
import logging
import os
import platform
import shutil
import signal
import subprocess
import sys
import weakref
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import PROBES, SMALL, Lab, without_times
from PIL import Image
from safetensors.torch import load_file

from bench.contracts.dataset import Images
from bench.evaluation import features
from bench.execution.assembly import build_backbone
from bench.pretraining.channel_statistics import measure_channels
from bench.storage.artifact_files import ABOUT, BACKBONE, PREDICTIONS
from bench.storage.artifacts import ArtifactStore

PROBE = {"method": "probe", "backbone": "tiny"}


def times(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def photos(root: Path, splits: dict[str, int], channels: str = "RGB") -> Path:
    """Write images of three classes, so many of each a split, that are told apart by their brightness."""
    rng = np.random.default_rng(0)
    for split, count in splits.items():
        for place, name in enumerate(("ant", "bee", "cow")):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                shape = (12, 12, 3) if channels == "RGB" else (12, 12)
                pixels = rng.integers(70 * place, 70 * place + 90, shape, dtype=np.uint8)
                Image.fromarray(pixels, channels).save(root / split / name / f"{number}.png")
    return root


# ---- made once


def test_two_evaluators_share_one_backbone(probing: Lab, probes: Any) -> None:
    records = probing.run(probing.plan(**PROBE, evaluator=("knn", "witness"), label_frac=(0.5, 1.0)))

    assert [record["status"] for record in records] == ["ok"] * 4
    assert len(probes.MADE) == 1
    assert len({record["keys"]["backbone"] for record in records}) == 1
    assert len({record["keys"]["score"] for record in records}) == 4


def test_cells_that_share_data_share_it_in_memory(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    digits, loaded = lab.registry.load_class("datasets", "digits"), []
    load = digits.load
    monkeypatch.setattr(digits, "load", lambda self, split: loaded.append(split) or load(self, split))
    records = lab.run(lab.plan(method=("random", "simclr"), seed=(0, 1), evaluator=("knn", "linear")))

    assert [record["status"] for record in records] == ["ok"] * 8
    assert sorted(loaded) == ["test", "train"]


def test_cells_that_share_features_share_them_in_memory(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    load, loaded = features.load, []
    monkeypatch.setattr(features, "load", lambda folder: loaded.append(folder.name) or load(folder))
    settings = {"knn.k": (3, 4), "linear.tolerance": (1e-3, 1e-4)}
    records = lab.run(lab.plan(settings, seed=(0, 1), evaluator=("knn", "linear"), label_frac=(0.5, 1.0)))
    wanted = {key for record in records for key in record["keys"]["features"].values()}

    assert len(records) > 8
    assert len(wanted) == 4
    assert sorted(loaded) == sorted(wanted)


def test_a_second_run_makes_nothing(probing: Lab, probes: Any) -> None:
    cells = probing.plan(**PROBE, evaluator=("knn", "witness"))
    first, before = probing.run(cells), times(probing.folder)
    probes.TOLD.clear()
    second = probing.run(cells)

    assert second == first
    assert times(probing.folder) == before
    assert (len(probes.MADE), probes.TOLD) == (1, [])


def test_a_changed_evaluator_retrains_nothing(probing: Lab, probes: Any) -> None:
    probing.run(probing.plan({"knn.k": 3}, **PROBE))
    before = times(probing.folder / "artifacts")
    (record,) = probing.run(probing.plan({"knn.k": 4}, **PROBE))

    assert record["status"] == "ok"
    assert len(probes.MADE) == 1
    assert before.items() <= times(probing.folder / "artifacts").items()


def test_features_are_enough_for_a_new_score(probing: Lab, probes: Any) -> None:
    """A checkpoint may be deleted to save room."""
    (first,) = probing.run(probing.plan({"knn.k": 3}, **PROBE))
    shutil.rmtree(probing.artifact(first["keys"]["backbone"]))
    (second,) = probing.run(probing.plan({"knn.k": 4}, **PROBE))

    assert second["status"] == "ok"
    assert len(probes.MADE) == 1
    assert second["cost"]["seconds"]["pretrain"] == first["cost"]["seconds"]["pretrain"]


def test_the_same_seed_gives_the_same_record_elsewhere(lab: Lab) -> None:
    cells = lab.plan(method="simclr")
    ours, theirs = lab.run(cells), lab.beside("other").run(cells)

    assert [without_times(record) for record in ours] == [without_times(record) for record in theirs]


# ---- records


def test_predictions_of_every_image_are_kept_and_are_the_metric(lab: Lab) -> None:
    (record,) = lab.run(lab.plan(evaluator="linear"))
    kept = load_file(lab.artifact(record["keys"]["score"]) / PREDICTIONS)
    right = kept["label"] == kept["prediction"]

    assert record["metrics"]["top1"]["value"] == pytest.approx(100 * right.double().mean().item())
    assert record["metrics"]["top1"]["n"] == len(right) == 359
    assert kept["confidence"].dtype == torch.float16
    assert torch.equal(kept["label"].long(), lab.datasets.open(lab.plan()[0].dataset).load("test").labels)


def test_predictions_are_those_of_the_record_that_is_there(lab: Lab) -> None:
    cells = lab.plan()
    (record,) = lab.run(cells)
    file = lab.artifact(record["keys"]["score"]) / PREDICTIONS
    wanted = load_file(file)["prediction"].clone()  # of a file that is mapped into memory
    shutil.rmtree(lab.folder / "records")
    file.write_bytes(b"of an earlier run that ended before its record was written")
    lab.run(cells)

    assert torch.equal(load_file(file)["prediction"], wanted)


def test_a_record_has_its_costs(lab: Lab) -> None:
    trained, random = (record["cost"] for record in lab.run(lab.plan(method=("simclr", "random"))))

    assert set(trained) == {
        "seconds", "images_per_s", "features_images_per_s", "params", "flops", "peak_mb"
    }  # fmt: skip
    assert set(trained["seconds"]) == {"pretrain", "features", "evaluate"}
    assert all(value > 0 for value in trained["seconds"].values())
    assert trained["images_per_s"] >= 96 / trained["seconds"]["pretrain"]  # without the monitors' time
    assert trained["features_images_per_s"] == pytest.approx((48 + 359) / trained["seconds"]["features"])
    assert (random["images_per_s"], random["seconds"]["pretrain"]) == (None, 0)
    assert random["params"] == trained["params"] > 100_000
    assert random["flops"] == trained["flops"] > 2 * random["params"]
    assert random["peak_mb"] > 10


def test_features_that_do_not_say_how_many_images_they_took_serve_as_ever(probing: Lab) -> None:
    (first,) = probing.run(probing.plan({"knn.k": 3}, **PROBE))
    for key in first["keys"]["features"].values():
        with ArtifactStore(probing.folder).write(key) as folder:
            (folder / features.FILE).write_bytes((probing.artifact(key) / features.FILE).read_bytes())
            about = json.loads((probing.artifact(key) / ABOUT).read_text())
            del about["images"]
            (folder / ABOUT).write_text(json.dumps(about))
    (second,) = probing.run(probing.plan({"knn.k": 4}, **PROBE))

    assert second["status"] == "ok"
    assert second["cost"]["features_images_per_s"] is None
    assert second["cost"]["seconds"]["features"] == first["cost"]["seconds"]["features"]


def test_a_record_says_what_ran_and_not_where(probing: Lab) -> None:
    (record,) = probing.run(probing.plan())
    origin = record["provenance"]

    assert set(origin) == {
        "bench",
        "plugins",
        "packages",
        "python",
        "platform",
        "device",
        "git_commit",
        "git_dirty",
    }
    assert origin["plugins"]["probes:probes"] == "1.0"
    assert origin["packages"]["torch"] == version("torch")
    assert origin["device"].startswith("cpu")
    assert str(probing.folder) not in json.dumps(record)
    assert platform.node() not in {str(value) for value in origin.values()}
    assert origin["platform"] == f"{platform.system()} {platform.machine()}"


def test_a_record_has_the_whole_config(lab: Lab) -> None:
    (record,) = lab.run(lab.plan({"method.temperature": 0.3}, method="simclr"))
    config = record["config"]

    assert config["method"]["temperature"] == 0.3
    assert config["training"]["epochs"] == 2
    assert [view["flip"] for view in config["views"]] == [0, 0]
    assert config["dataset"] == config["eval_dataset"]
    assert config["dataset"]["fingerprint"]
    assert record["settings"]["method.temperature"] == 0.3
    assert record["metrics"]["top1"]["higher_is_better"]


def test_what_is_better_when_lower_is_said(probing: Lab) -> None:
    (record,) = probing.run(probing.plan(evaluator="witness"))

    assert {name: m["higher_is_better"] for name, m in record["metrics"].items()} == {
        "top1": True,
        "nll": False,
    }


# ---- what an evaluator is given


def test_a_label_subset_is_stratified_and_nested(probing: Lab, probes: Any) -> None:
    settings = {"dataset.max_train": 200}
    probing.run(probing.plan(settings, evaluator="witness", label_frac=(0.1, 0.5, 1.0)))
    few, half, whole = ({tuple(x) for x in task.train.x.tolist()} for task in probes.SEEN)
    counts = probes.SEEN[0].train.y.bincount(minlength=10)

    assert few < half < whole
    assert (len(probes.SEEN[0].train), len(probes.SEEN[2].train)) == (20, 200)
    assert counts.tolist() == [2] * 10


def test_the_subset_and_the_folds_follow_the_seed(probing: Lab, probes: Any) -> None:
    probing.run(probing.plan(evaluator="witness", label_frac=0.5, seed=(0, 1)))
    one, other = ((task.seed, task.folds) for task in probes.SEEN)

    assert (one[0], other[0]) == (0, 1)
    assert any(not torch.equal(a, b) for a, b in zip(one[1][0], other[1][0], strict=True))


def test_an_evaluator_gets_a_copy_of_what_it_may_change(probing: Lab, probes: Any) -> None:
    cells = probing.plan({"witness.ruin": (True, False)}, evaluator="witness")
    records = probing.run(cells)
    ruined, after = probes.SEEN
    kept = load_file(probing.artifact(records[0]["keys"]["score"]) / PREDICTIONS)

    assert after.train.x.any()
    assert torch.equal(after.train.x, ruined.train.x)
    assert torch.equal(after.test.x, ruined.test.x)
    assert torch.equal(after.test.y, ruined.test.y)
    assert kept["label"].any()


@pytest.mark.parametrize(("fraction", "own"), [(1.0, True), (0.5, False)])
def test_the_validation_split_of_the_data_is_chosen_on_where_all_labels_are_used(
    probing: Lab,
    probes: Any,
    tmp_path: Path,
    fraction: float,
    own: bool,  # noqa: FBT001
) -> None:
    root = photos(tmp_path / "photos", {"train": 6, "val": 4, "test": 2})
    settings = {"dataset.root": str(root), "dataset.max_train": None, "train.image_size": None}
    probing.run(probing.plan(settings, dataset="image_folder", evaluator="witness", label_frac=fraction))
    (task,) = probes.SEEN
    fit, val = task.folds[0]

    assert len(task.train) == fraction * 30
    assert (len(task.folds) == 1) is own
    assert task.own_val is own
    assert ((len(fit), len(val)) == (18, 12)) is own
    assert sorted(torch.cat([fit, val]).tolist()) == list(range(len(task.train)))


def test_a_transfer_sees_the_other_data_as_the_backbone_knows_images(lab: Lab, tmp_path: Path) -> None:
    """Grey 8x8 digits, for a backbone of 16x16 colours: enlarged, repeated, normalised as the photos."""
    root = photos(tmp_path / "photos", {"train": 8, "test": 2})
    settings = {"dataset.root": str(root), "dataset.max_train": None, "eval_dataset.max_train": 60}
    (cell,) = lab.plan(settings, method="simclr", dataset="image_folder", eval_dataset="digits")
    (record,) = lab.run([cell])
    trained_on = lab.datasets.open(cell.dataset).load("train")
    backbone = build_backbone(cell, lab.registry, 3)
    backbone.load_state_dict(load_file(lab.artifact(cell.keys.backbone) / BACKBONE))
    mean, std = measure_channels(trained_on)
    test = lab.datasets.open(cell.eval_dataset).load("test")
    (wanted,) = features.extract(
        backbone, test.pixels, image_size=16, channels=3, mean=mean, std=std, device=torch.device("cpu")
    )
    found = features.load(lab.artifact(cell.keys.features["test"]))

    assert record["status"] == "ok"
    assert (record["cell"]["dataset"], record["cell"]["eval_dataset"]) == ("image_folder", "digits")
    assert torch.allclose(found.x, wanted, atol=1e-5)
    assert torch.equal(found.y, test.labels)
    assert len(record["classes"]) == 10


def test_features_are_of_the_trained_backbone_and_leave_it_as_it_was(lab: Lab) -> None:
    """The statistics of norms are those of training: a pass that updated them would leak test images."""
    pipeline, cells = lab.pipeline(), lab.plan(method="simclr", evaluator="knn")
    list(pipeline.run(cells))
    frozen = pipeline.scores.features.backbones.get(cells[0])
    kept = load_file(lab.artifact(cells[0].keys.backbone) / BACKBONE)
    now = frozen.state_dict()

    assert not frozen.training
    assert any("running_mean" in name for name in kept)
    assert all(torch.equal(now[name], value) for name, value in kept.items())


def test_mean_and_deviation_are_exact() -> None:
    draw = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 200, (1007, 3, 5, 4), dtype=torch.uint8, generator=draw)
    mean, std = measure_channels(Images(pixels, torch.zeros(1007, dtype=torch.int64)))
    values = pixels.numpy().astype(np.float64) / 255

    assert mean == pytest.approx(values.mean(axis=(0, 2, 3)), rel=1e-12)
    assert std == pytest.approx(values.std(axis=(0, 2, 3)), rel=1e-12)


def test_images_of_one_colour_have_a_deviation_that_can_be_divided_by() -> None:
    pixels = torch.full((2, 1, 4, 4), 51, dtype=torch.uint8)

    assert measure_channels(Images(pixels, torch.zeros(2, dtype=torch.int64))) == ((0.2,), (1 / 255,))


# ---- failed, skipped, damaged


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
    )
    small = [text for name, (value,) in SMALL.items() for text in ("--set", f"{name}={value}")]
    command = [sys.executable, "-m", "bench", "run", *axes, *small, "--results", str(probing.folder)]
    environment = {**os.environ, "PYTHONPATH": str(PROBES), "PROBES_KILL": "4"}
    killed = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    left = {path.relative_to(probing.folder).parts[:2] for path in times(probing.folder)}
    (record,) = probing.run(cells)
    (whole,) = probing.beside("whole").run(cells)

    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert left <= {("artifacts", ".work")}
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
    wanted = (folder / BACKBONE).read_bytes()
    damage(folder)
    settings = {"dataset.max_train": 40, "eval_dataset.max_train": 30}
    with caplog.at_level(logging.WARNING):
        (other,) = probing.run(probing.plan(settings, **PROBE))

    assert other["keys"]["backbone"] == record["keys"]["backbone"]
    assert "the artifact is damaged. It is made again." in caplog.text
    assert len(probes.MADE) == 2
    assert (folder / BACKBONE).read_bytes() == wanted


def test_damaged_features_are_made_again_from_the_backbone(probing: Lab, probes: Any) -> None:
    (record,) = probing.run(probing.plan({"knn.k": 3}, **PROBE))
    file = probing.artifact(record["keys"]["features"]["test"]) / features.FILE
    wanted = file.read_bytes()
    file.write_bytes(wanted[:-1] + b"?")
    (other,) = probing.run(probing.plan({"knn.k": 4}, **PROBE))

    assert other["status"] == "ok"
    assert file.read_bytes() == wanted
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
    before = times(probing.folder)
    again = probing.run(cells)

    assert (skipped["status"], done["status"]) == ("skipped", "ok")
    assert skipped["reason"] == "tiny needs 16 px, the images have 8. Set --image-size."
    assert (skipped["metrics"], skipped["error"]) == ({}, None)
    assert again == [skipped, done]
    assert times(probing.folder) == before

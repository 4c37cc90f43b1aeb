"""What the record of a cell says."""

from __future__ import annotations

import json
import platform
import shutil
from importlib.metadata import version

import pytest
import torch
from conftest import PROBE, Lab
from safetensors.torch import load_file

from bench.evaluation import features
from bench.storage.artifact_files import ABOUT, PREDICTIONS
from bench.storage.artifacts import ArtifactStore


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
    expected = load_file(file)["prediction"].clone()  # of a file that is mapped into memory
    shutil.rmtree(lab.folder / "records")
    file.write_bytes(b"of an earlier run that ended before its record was written")
    lab.run(cells)

    assert torch.equal(load_file(file)["prediction"], expected)


def test_a_record_has_its_costs(lab: Lab) -> None:
    trained, random = (record["cost"] for record in lab.run(lab.plan(method=("simclr", "random"))))

    assert set(trained) == {
        "seconds", "images_per_s", "features_images_per_s", "params", "flops", "peak_mb",
        "threads", "passes", "devices",
    }  # fmt: skip
    assert set(trained["seconds"]) == {"pretrain", "features", "evaluate"}
    assert all(value > 0 for value in trained["seconds"].values())
    assert trained["images_per_s"] >= 96 / trained["seconds"]["pretrain"]  # without the monitors' time
    assert trained["features_images_per_s"] == pytest.approx((48 + 359) / trained["seconds"]["features"])
    assert (random["images_per_s"], random["seconds"]["pretrain"]) == (None, 0)
    assert random["params"] == trained["params"] > 100_000
    assert random["flops"] == trained["flops"] > 2 * random["params"]
    assert random["peak_mb"]["pretrain"] is None
    assert min(trained["peak_mb"].values()) > 10
    assert trained["threads"] == {"pretrain": [1], "features": [1], "evaluate": [1]}
    assert random["threads"] == {"pretrain": [], "features": [1], "evaluate": [1]}
    assert (trained["devices"], random["devices"]) == ([1], [])


def test_features_that_do_not_say_how_they_were_made_serve_as_ever(probing: Lab) -> None:
    (first,) = probing.run(probing.plan({"knn.k": 3}, **PROBE))
    for key in first["keys"]["features"].values():
        with ArtifactStore(probing.folder).write(key) as folder:
            (folder / features.FILE).write_bytes((probing.artifact(key) / features.FILE).read_bytes())
            about = json.loads((probing.artifact(key) / ABOUT).read_text())
            del about["images"], about["threads"], about["backbone"]["threads"]
            (folder / ABOUT).write_text(json.dumps(about))
    (second,) = probing.run(probing.plan({"knn.k": 4}, **PROBE))

    assert second["status"] == "ok"
    assert second["cost"]["features_images_per_s"] is None
    assert second["cost"]["threads"] == {"pretrain": None, "features": [], "evaluate": [1]}
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

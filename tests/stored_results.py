"""Make a results folder by hand: records, predictions and features on scikit-learn's digits."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from made_records import full_record
from numpy.typing import NDArray
from safetensors.numpy import save_file

from bench.keys import digest
from bench.planning.cells import PluginChoice
from bench.planning.open_datasets import Datasets
from bench.registry.registry import Registry
from bench.storage.artifacts import ArtifactStore
from bench.storage.record_shape import KEY
from bench.storage.records import RecordStore

CLASSES = tuple(map(str, range(10)))


@cache
def digits() -> Any:
    """Return the data set `digits`."""
    registry = Registry.load()
    config = registry.load_class("datasets", "digits").Config()
    return Datasets(registry).open(PluginChoice(kind="datasets", name="digits", config=config, identity={}))


@cache
def digit_labels() -> NDArray[np.int64]:
    """Return the labels of the test split of `digits`."""
    return np.array(digits().labels("test"), dtype=np.int64)


def make_record(method: str = "simclr", seed: int = 0, **changes: Any) -> dict[str, Any]:
    """Return a record of digits; a change replaces a part, or one name of its cell."""
    name = "-".join(str(changes.get(part, "")) for part in ("evaluator", "label_frac", "eval_dataset"))
    key = f"{method}-{seed}-{name}"
    key = key if KEY.fullmatch(key) else digest(key)
    data = {"classes": [], "max_train": None, "fingerprint": digits().fingerprint()}
    config = {
        "method": {},
        "eval_dataset": data,
        "training": {"epochs": 100, "image_size": 16},
        "views": [{}],
    }
    metrics = {"top1": {"value": 70.0, "n": 360}, "ece": {"value": 5.0, "n": 360}}
    usual = {"config": config, "metrics": metrics, "classes": list(CLASSES), "evaluator": "linear"}
    usual["keys"] = {"score": f"s-{key}", "features": {"test": f"f-{key}"}}
    return full_record(**{**usual, "method": method, "seed": seed, **changes})


def store(
    folder: Path,
    record: dict[str, Any],
    *,
    labels: NDArray[Any] | None = None,
    confidence: bool = True,
    predictions: bool = True,
    features: bool = True,
    noise: float = 0.5,
) -> dict[str, Any]:
    """Write a record and what its cell leaves behind, and return it.

    Args:
        folder: the results folder.
        record: of `make_record`. Its predictions are as often right as it says; as there are whole images
            alone, it is made to say exactly how often that is, and of how many.
        labels: of the test images; none are those of digits.
        confidence: whether predictions say how sure they are.
        predictions: whether there are any.
        features: whether there are any.
        noise: of the features, which tell the classes apart.
    """
    labels = digit_labels() if labels is None else labels
    draws = np.random.default_rng(len(record["cell"]["method"]) + record["cell"]["seed"])
    artifacts = ArtifactStore(folder)
    if predictions:
        right = round(record["metrics"]["top1"]["value"] * len(labels) / 100)
        wrong = draws.random(len(labels)).argsort().argsort() < len(labels) - right
        predicted = np.where(wrong, (labels + 1) % len(record["classes"]), labels)
        tensors = {"label": labels.astype(np.int32), "prediction": predicted.astype(np.int32)}
        top1 = {"value": 100 * float(np.mean(predicted == labels)), "n": len(labels)}
        record = {**record, "metrics": {**record["metrics"], "top1": top1}}
        if confidence:
            tensors["confidence"] = draws.uniform(0.1, 1, len(labels)).astype(np.float16)
        with artifacts.write(record["keys"]["score"]) as work:
            save_file(tensors, work / "predictions.safetensors")
    if features:
        x = np.eye(12)[labels % 12] + noise * draws.normal(size=(len(labels), 12))
        tensors = {"x": x.astype(np.float32), "y": labels.astype(np.int64)}
        with artifacts.write(record["keys"]["features"]["test"]) as work:
            save_file(tensors, work / "features.safetensors")
    RecordStore(folder).write(record)
    return record

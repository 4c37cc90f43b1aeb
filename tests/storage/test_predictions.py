"""Stored predictions are read where they can be used, and else left out with a line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from bench.storage import predictions
from bench.storage.artifact_files import PREDICTIONS
from bench.storage.artifacts import ArtifactStore
from bench.storage.predictions import MOST_CLASSES, read_predictions

LABELS = np.arange(6, dtype=np.int32) % 3
SURE = np.full(6, 0.5, dtype=np.float16)


def read(folder: Path, **tensors: Any) -> predictions.Predictions | None:
    artifacts = ArtifactStore(folder)
    usual = {"label": LABELS, "prediction": LABELS, "confidence": SURE}
    with artifacts.write("key") as work:
        save_file({**usual, **tensors}, work / PREDICTIONS)
    return read_predictions(artifacts, "key")


def test_what_was_predicted_is_read(tmp_path: Path) -> None:
    found = read(tmp_path, prediction=LABELS[::-1].copy())

    assert found is not None
    assert np.array_equal(found.labels, LABELS)
    assert np.array_equal(found.predicted, LABELS[::-1])
    assert found.confidence is not None
    assert found.confidence.tolist() == [0.5] * 6


@pytest.mark.parametrize(
    "tensors",
    [
        {"label": LABELS - 1},
        {"prediction": LABELS - 1},
        {"prediction": LABELS.astype(np.int64) + 2**31},
        {"label": LABELS + MOST_CLASSES},
        {"prediction": LABELS.astype(np.float32)},
        {"prediction": LABELS[:5].copy()},
        {"label": LABELS.reshape(2, 3)},
        {"confidence": SURE[:5].copy()},
        {"confidence": SURE + np.float16(1)},
        {"confidence": SURE * np.float16(np.nan)},
    ],
    ids=["label -1", "class -1", "class 2**31", "label too large", "fractions", "fewer predictions",
         "a table of labels", "fewer confidences", "too sure", "nan sure"],
)  # fmt: skip
def test_what_cannot_be_used_is_left_out_with_a_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, tensors: dict[str, Any]
) -> None:
    assert read(tmp_path, **tensors) is None
    assert len(caplog.messages) == 1
    assert "these are no predictions that can be used, and are left out." in caplog.messages[0]


def test_a_file_larger_than_any_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictions, "LARGEST_FILE", 50)

    assert read(tmp_path) is None

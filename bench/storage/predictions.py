"""Read what was predicted of each test image of a cell."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.storage.artifact_files import PREDICTIONS
from bench.storage.artifacts import ArtifactStore

log = logging.getLogger("bench")

CONFIDENCE = "confidence"

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Predictions(NamedTuple):
    """The class of each test image and the predicted one, (n,) each, in the order of the test split.

    `confidence` is the probability of the predicted class in half precision, (n,); none where none is stored.
    """

    labels: NDArray[np.int32]
    predicted: NDArray[np.int32]
    confidence: NDArray[np.float16] | None = None


def read_predictions(artifacts: ArtifactStore, score_key: str) -> Predictions | None:
    """Return the predictions of a cell, without torch; none where they are not stored.

    Where they are there and not what was written, that is told, and there are none.

    Args:
        artifacts: of the results folder.
        score_key: the key of the cell's score.
    """
    from safetensors import SafetensorError, safe_open

    path = artifacts.folder / score_key / PREDICTIONS
    if not artifacts.is_whole(score_key, PREDICTIONS):
        if path.parent.exists():
            log.warning("%s: these predictions are not what was written, and are left out.", path.parent)
        return None
    try:
        file: Any
        with safe_open(path, framework="numpy") as file:
            sure = file.get_tensor(CONFIDENCE) if CONFIDENCE in file.keys() else None  # noqa: SIM118 - no mapping
            return Predictions(file.get_tensor("label"), file.get_tensor("prediction"), sure)
    except (OSError, SafetensorError):
        return None

"""Read what was predicted of each test image of a cell."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.storage.artifact_files import PREDICTIONS
from bench.storage.artifacts import ArtifactStore
from bench.storage.presence import is_there

log = logging.getLogger("bench")

CONFIDENCE = "confidence"
LARGEST_FILE = 1 << 30  # bytes: of a hundred million images
MOST_CLASSES = 1 << 20  # what counts by class takes 8 MB

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
    if not artifacts.is_whole(score_key, PREDICTIONS, LARGEST_FILE):
        if is_there(path.parent):
            log.warning("%s: these predictions are not what was written, and are left out.", path.parent)
        return None
    try:
        file: Any
        with safe_open(path, framework="numpy") as file:
            sure = file.get_tensor(CONFIDENCE) if CONFIDENCE in file.keys() else None  # noqa: SIM118 - no mapping
            found = Predictions(file.get_tensor("label"), file.get_tensor("prediction"), sure)
    except (OSError, SafetensorError):
        return None
    if not _are_usable(found):
        log.warning("%s: these are no predictions that can be used, and are left out.", path.parent)
        return None
    return found


def _are_usable(found: Predictions) -> bool:
    """Tell whether predictions have the types, sizes and values that readers rely on."""
    classes, sure = (found.labels, found.predicted), found.confidence
    return (
        all(one.ndim == 1 and one.dtype.kind in "iu" and len(one) == len(classes[0]) for one in classes)
        and all(not len(one) or (one.min() >= 0 and one.max() < MOST_CLASSES) for one in classes)
        and (sure is None or (sure.shape == found.labels.shape and bool(((sure >= 0) & (sure <= 1)).all())))
    )

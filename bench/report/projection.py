"""Bring features into the plane, and tell how much of their neighbourhoods is left there."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import UsageError
from bench.splits.order import Index, Labels
from bench.splits.stratified import stratified_order

Floats = NDArray[np.float32]

NEIGHBOURS = 10  # of trustworthiness and of the kNN accuracies; our choice
PERPLEXITY = 30.0  # van der Maaten and Hinton 2008 take 5 to 50
COMPONENTS = 50  # van der Maaten and Hinton 2008, section 4.1: PCA to as many before t-SNE
FEWEST = (
    3 * NEIGHBOURS
)  # images of which a map says anything; trustworthiness asks for twice as many as neighbours
MOST = 5_000  # images: trustworthiness holds all their distances, three times 0.2 GB
SEED = 0
# kind: package, module and class, what is set beside the seed
KINDS: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "tsne": ("scikit-learn", "sklearn.manifold", "TSNE", {"init": "pca", "learning_rate": "auto"}),
    "umap": ("umap-learn", "umap", "UMAP", {"n_jobs": 1}),
    "pacmap": ("pacmap", "pacmap", "PaCMAP", {"apply_pca": False}),
    "opentsne": ("opentsne", "openTSNE", "TSNE", {"initialization": "pca", "n_jobs": 1}),
}


@dataclass(frozen=True)
class Projection:
    """Features in the plane.

    Args:
        points: (n, 2), float32.
        trustworthiness: in [0, 1]; 1 where every neighbour in the plane is one among the features, too.
        knn_features: the accuracy of each image's nearest neighbours by its features, in percent.
        knn_map: the same in the plane.
    """

    points: Floats
    trustworthiness: float
    knn_features: float
    knn_map: float


def check_kind(kind: str) -> None:
    """Refuse a kind of map that is not there.

    Raises:
        UsageError: none has the name, or its package is not installed.
    """
    if kind not in KINDS:
        raise UsageError(f"--map: {kind!r} is no kind of map. Use {', '.join(KINDS)}.")
    package, module, _, _ = KINDS[kind]
    if find_spec(module.partition(".")[0]) is None:
        raise UsageError(
            f"--map {kind}: {package} is not installed. Install it with `pip install 'ssl-bench[maps]'`, "
            "or use --map tsne."
        )


def choose_rows(labels: Labels, most: int, seed: int = SEED) -> Index:
    """Return rows, ascending, of as many images a class as there are, at most `most`: always the same ones.

    Args:
        labels: (n,), of the test split.
        most: images, at most; a smaller number's lie among a larger one's.
        seed: of the draw.
    """
    orders = list(stratified_order(labels, seed, "map").values())
    turns = np.concatenate([np.arange(len(order)) for order in orders])  # each class's first, its second, ...
    return np.sort(np.concatenate(orders)[np.argsort(turns, kind="stable")[:most]])


def to_unit_rows(features: NDArray[Any]) -> Floats:
    """Return features (n, dim) at length one: the nearest are then the most alike by cosine. Zeros stay."""
    rows = features.astype(np.float32)
    largest = np.abs(rows).max(1, keepdims=True)
    rows /= np.where(largest > 0, largest, 1)  # squares of 1e-30 would vanish
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1), dtype=np.float32)


def why_no_map(features: NDArray[Any]) -> str:
    """Return why features (n, dim) have no map, or nothing."""
    if len(features) < FEWEST:
        return f"a map needs {FEWEST} test images, and there are {len(features)}"
    if not np.isfinite(features).all():
        return "some features are infinite or not a number"
    if np.ptp(to_unit_rows(features), axis=0).max() < 1e-6:
        return "all features are alike: the network has collapsed"
    return ""


def project(features: NDArray[Any], labels: Labels, kind: str, seed: int = SEED) -> Projection:
    """Return a map of features, and how far to believe it.

    Args:
        features: (n, dim), for which `why_no_map` says nothing.
        labels: (n,), int64.
        kind: one of `KINDS`, which `check_kind` accepts.
        seed: of the map.
    """
    from sklearn.manifold import trustworthiness

    unit = to_unit_rows(features)
    points = place(take_components(unit, seed), kind, seed)
    return Projection(
        points,
        float(trustworthiness(unit, points, n_neighbors=NEIGHBOURS)),
        leave_one_out(unit, labels),
        leave_one_out(points, labels),
    )


def place(features: Floats, kind: str, seed: int) -> Floats:
    """Return a place in the plane for each row, (n, 2)."""
    _, module, name, options = KINDS[kind]
    make: Callable[..., Any] = getattr(import_module(module), name)
    own: dict[str, Any] = {"random_state": seed, **options}
    if kind in ("tsne", "opentsne"):
        own["perplexity"] = min(PERPLEXITY, (len(features) - 1) / 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of their own dependencies, and that a seed allows one thread only
        fitted = make(**own).fit(features) if kind == "opentsne" else make(**own).fit_transform(features)
    return np.asarray(fitted, dtype=np.float32)


def leave_one_out(x: Floats, labels: Labels, k: int = NEIGHBOURS) -> float:
    """Return how often the vote of the `k` nearest others is right, in percent; a tie is the lower class's.

    Args:
        x: (n, dim), n more than k.
        labels: (n,), int64.
        k: neighbours.
    """
    from sklearn.neighbors import NearestNeighbors

    near = NearestNeighbors(n_neighbors=k).fit(x).kneighbors(return_distance=False)
    votes = np.stack([(labels[near] == label).sum(1) for label in np.unique(labels)], axis=1)
    return float(100 * np.mean(np.unique(labels)[votes.argmax(1)] == labels))


def take_components(unit: Floats, seed: int = SEED) -> Floats:
    """Return the first principal components of features that have more dimensions, others as they are."""
    from sklearn.decomposition import PCA

    if unit.shape[1] <= COMPONENTS:
        return unit
    components = min(COMPONENTS, len(unit) - 1)
    return np.asarray(PCA(components, random_state=seed).fit_transform(unit), dtype=np.float32)

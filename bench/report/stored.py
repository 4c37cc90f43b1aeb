"""Find what a record's cell left behind: predictions, features, maps and test images."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError
from bench.keys import digest
from bench.report.projection import KINDS, Projection, project
from bench.report.rows import Record
from bench.reporting.evidence import is_as_stated
from bench.reporting.folders import StoredPredictions
from bench.reporting.metric_choice import USUAL_METRIC
from bench.splits.order import Index, Labels
from bench.splits.stratified import index_digest
from bench.statistics.per_image import mark_right
from bench.storage.artifacts import ArtifactStore
from bench.storage.data_names import data_of
from bench.storage.predictions import Predictions
from bench.storage.presence import is_there

if TYPE_CHECKING:
    from bench.contracts.dataset import Images
    from bench.registry.registry import Registry

FEATURES, MAP = "features.safetensors", "map.safetensors"
MAPS_VERSION = 1  # of what is kept of a map


class NotStored(Exception):
    """Something that a figure needs is not there; the message is a sentence for the report."""


def title_of(record: Record) -> str:
    """Return how a sentence of the report names a record."""
    cell = record["cell"]
    return f"{cell['method']}, {cell['evaluator']}, seed {cell.get('seed')}"


class Stored:
    """The artifacts of some results folders, each looked for in the order of the folders.

    Args:
        folders: the results folders.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self.stores = tuple(ArtifactStore(folder) for folder in folders)
        self._predictions = StoredPredictions(folders)
        self._with_features: dict[str, Path | None] = {}

    def predictions(self, record: Record) -> Predictions:
        """Return what was predicted of each test image.

        Raises:
            NotStored: it is not there, not of the classes of the record, or not as often right as it says.
        """
        found = self._predictions.read(record["keys"]["score"])
        if found is None or not len(found.labels):
            raise NotStored(f"{title_of(record)}: its predictions are not stored")
        classes, values = len(record.get("classes") or ()), np.concatenate(found[:2])
        if values.min() < 0 or values.max() >= classes:
            raise NotStored(f"{title_of(record)}: its predictions are not of the record's {classes} classes")
        if not is_as_stated(mark_right(*found[:2]), record["metrics"][USUAL_METRIC]["value"]):
            raise NotStored(f"{title_of(record)}: its predictions are not as often right as its record says")
        return found

    def features(self, record: Record) -> NDArray[np.float32]:
        """Return the frozen features of the test split, (n, dim).

        Raises:
            NotStored: they are not there, or are not what was written.
        """
        return self._read(record, "x")

    def labels(self, record: Record) -> Labels:
        """Return the classes of the images that there are features of, (n,).

        Raises:
            NotStored: there are no features.
        """
        return self._read(record, "y")

    def _read(self, record: Record, tensor: str) -> NDArray[Any]:
        from safetensors import SafetensorError, safe_open

        key = feature_key(record)
        path = self._find_features(key)
        file: Any
        if path:
            with (
                contextlib.suppress(OSError, SafetensorError, TypeError),  # or of a type that numpy lacks
                safe_open(path, framework="numpy") as file,
            ):
                found: NDArray[Any] = file.get_tensor(tensor)
                return found
        is_kept = any(is_there(store.folder / key) for store in self.stores)
        what = "not what was written, or of no use" if is_kept else "not stored"
        raise NotStored(f"{title_of(record)}: its features are {what}")

    def _find_features(self, key: str) -> Path | None:
        """Return where features are whole, by their digest: they are read once to tell."""
        if key not in self._with_features:
            whole = (store.folder / key / FEATURES for store in self.stores if store.is_whole(key, FEATURES))
            self._with_features[key] = next(whole, None)
        return self._with_features[key]

    def map(self, record: Record, rows: Index, kind: str, seed: int) -> Projection:
        """Return the map of some of the test images: as it was kept beside the features, or made and kept.

        Raises:
            NotStored: there are no features to make it of.
        """
        package = KINDS[kind][0]
        made_of = [feature_key(record), index_digest(rows), kind, seed, package, version(package)]
        key = digest({"stage": "map", "version": MAPS_VERSION, "of": made_of})
        for store in self.stores:
            if store.is_whole(key, MAP) and (kept := _read_map(store.folder / key, len(rows))):
                return kept
        made = project(self.features(record)[rows], self.labels(record)[rows], kind, seed)
        store = next((one for one in self.stores if one.has(feature_key(record))), self.stores[0])
        # a folder that may only be read keeps none
        with contextlib.suppress(OSError), store.locked(key), store.write(key) as folder:
            _write_map(made, folder)
        return made


def feature_key(record: Record) -> str:
    """Return the key of the features of a record's test split.

    Raises:
        NotStored: the record does not say it.
    """
    features = record["keys"].get("features")
    key = features.get("test") if isinstance(features, Mapping) else None
    if not isinstance(key, str):
        raise NotStored(f"{title_of(record)}: its record does not say where its features are")
    return key


def _write_map(made: Projection, folder: Path) -> None:
    from safetensors.numpy import save_file

    numbers = [made.trustworthiness, made.knn_features, made.knn_map]
    save_file({"points": made.points, "numbers": np.array(numbers)}, folder / MAP)


def _read_map(folder: Path, images: int) -> Projection | None:
    """Return a map that was kept; none where it is none of so many images."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        kept = load_file(folder / MAP)
        points, numbers = kept["points"], kept["numbers"]
    except (OSError, SafetensorError, KeyError, TypeError):
        return None
    if points.shape != (images, 2) or numbers.shape != (3,) or not np.isfinite(points).all():
        return None
    return Projection(points, *map(float, numbers))


# ---- images, which are in no artifact


LoadImages = Callable[[Record], "Images"]


def image_loader(
    registry: Registry, roots: Mapping[str, Path], data_dir: Path, *, download: bool = False
) -> LoadImages:
    """Return a function from a record to the images of the test split that it was evaluated on.

    Args:
        registry: of plugins.
        roots: the folders of data sets that lie in one, by name.
        data_dir: where downloads are.
        download: what is missing may be downloaded.
    """
    from bench.planning.open_datasets import Datasets

    datasets = Datasets(registry, data_dir, download=download)

    def load(record: Record) -> Images:
        data = data_of(record)[1]
        name = data.plugin
        try:
            return _load_images(record, name, datasets, roots.get(data.title, roots.get(name)))
        except BenchError as error:  # what a plugin raises is one, too
            here = str(error).replace("dataset.root=", f"--root {name}=")  # the option that does it here
            raise NotStored(f"no test images: {here}") from None

    return load


def _load_images(record: Record, name: str, datasets: Any, root: Path | None) -> Images:
    from bench.config import build
    from bench.planning.cells import PluginChoice

    said = dict((record.get("config") or {}).get("eval_dataset") or {})
    config_class = datasets.registry.load_class("datasets", name).Config
    known = {field.name for field in dataclasses.fields(config_class)}
    config = build(config_class, {field: said[field] for field in known & said.keys()}, name)
    choice = PluginChoice(kind="datasets", name=name, config=config, identity={}, root=root)
    dataset = datasets.open(choice)
    if said.get("fingerprint") != dataset.fingerprint():
        raise NotStored(f"no test images: those of {name} are others than the records are of")
    images: Images = dataset.load("test")
    return images

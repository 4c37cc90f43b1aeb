"""A trained backbone out of a results folder: found by its key or by a row of the table, and built again."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from bench.bounds import LARGEST
from bench.config import build
from bench.contracts.backbone import Backbone
from bench.errors import BadData, BadPlugin, BadValue, UnknownName, UsageError, suggest
from bench.plain_text import join_lines, shorten_text
from bench.registry.registry import Registry
from bench.reporting.formats.values import format_value
from bench.reporting.named_rows import BEFORE_AXIS
from bench.reporting.selection import parse_conditions, select_records
from bench.storage.artifact_files import ABOUT, BACKBONE, read_about
from bench.storage.artifacts import ArtifactStore
from bench.storage.data_names import titles_of
from bench.storage.records import Record, RecordStore

LEAST_KEY = 6  # letters of a key that may stand for all of it
NAMING = (
    "method",
    "backbone",
    "dataset",
    "eval_dataset",
    "evaluator",
)  # fields of a cell that a word may mean
SHOWN = 4  # backbones
LARGEST_SIDE = 1 << 14  # pixels of an image
MOST_LETTERS = 300  # of what torch says of weights that do not fit


@dataclass(frozen=True)
class Made:
    """What a results folder says of a backbone.

    Args:
        key: of the backbone.
        about: what its artifact says.
        records: of the cells that were evaluated on it, at least one.
        folder: of its artifact.
    """

    key: str
    about: Mapping[str, Any]
    records: Sequence[Record]
    folder: Path


class StoredBackbone(nn.Module):
    """A trained backbone, frozen, that takes images as they are.

    Args:
        backbone: takes normalised images; every parameter of it is frozen.
        made: where it is from.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: Backbone, made: Made) -> None:
        super().__init__()
        self.backbone, self.made = backbone.requires_grad_(requires_grad=False).eval(), made
        for name in ("mean", "std"):
            self.register_buffer(name, torch.tensor(made.about[name]).reshape(1, -1, 1, 1), persistent=False)
        self.eval()

    @property
    def dim(self) -> int:
        """Of the features."""
        return self.backbone.dim

    @property
    def image_size(self) -> int:
        """Side of the images that it was trained on, in pixels."""
        return int(self.made.about["image_size"])

    @property
    def channels(self) -> int:
        """Of the images: 1 or 3."""
        return int(self.made.about["channels"])

    def forward(self, images: Tensor) -> Tensor:
        """Return the features (n, dim) of images (n, channels, h, w): uint8, or floats in [0, 1]."""
        scaled = images if images.is_floating_point() else images.float() / 255
        features: Tensor = self.backbone((scaled - self.mean) / self.std)
        return features


def load_backbone(
    what: str, results: str | Path = "results", registry: Registry | None = None
) -> StoredBackbone:
    """Return a trained backbone of a results folder.

    Args:
        what: the key of a backbone or of a score, or the beginning of one; or a row of the table, by labels
            with slashes between, by axes, or both: `simclr/resnet18,seed=0`.
        results: the folder.
        registry: of plugins; none is that of what is installed.

    Raises:
        UsageError: nothing is meant, or several backbones are; or it is not kept any more.
    """
    return build_stored(find_made(what, Path(results)), registry or Registry.load())


def find_made(what: str, results: Path) -> Made:
    """Return what a results folder says of the one backbone that is meant; see `load_backbone`."""
    records = [record for record in RecordStore(results).records() if _has_network(record)]
    if not records:
        raise UsageError(f"no records in {results}. Run `bench run` first.")
    chosen: Sequence[Mapping[str, Any]] = _select_by_key(records, what) or _select_by_name(
        records, what, results
    )
    keys = list(dict.fromkeys(record["keys"]["backbone"] for record in chosen))
    store = ArtifactStore(results)
    if len(keys) > 1:
        names = [f"{_title(chosen, key)} ({key[:8]})" for key in keys[:SHOWN]]
        more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
        raise BadValue(
            f"{what!r} is {len(keys)} backbones: {', '.join(names)}{more}. "
            f"Name one, by its key or with axes, as in {what},seed=0."
        )
    (key,) = keys
    if not store.is_whole(key, BACKBONE) or not store.is_whole(key, ABOUT):
        store.refuse_closed(key)
        raise BadData(
            f"{store.folder / key}: the backbone of {_title(chosen, key)} is not kept there, or is "
            "damaged. Run the same `bench run` again, which makes it."
        )
    own = [record for record in records if record["keys"]["backbone"] == key]
    return Made(key, _read_about(store.folder / key), own, store.folder / key)


def _has_network(record: Record) -> bool:
    """Tell whether a record says which network it is of."""
    return record["status"] == "ok" and bool(record["keys"].get("backbone"))


def _read_about(folder: Path) -> Mapping[str, Any]:
    """Return what an artifact says of itself, of which a network is built.

    Raises:
        BadData: it is not what bench writes.
    """
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        about = read_about(folder)
        channels, side = about["channels"], about["image_size"]
        is_sized = channels in (1, 3) and type(side) is int and 0 < side <= LARGEST_SIDE
        numbers = [number for name in ("mean", "std") for number in about[name]]
        is_scaled = all(type(number) in (int, float) and abs(number) <= LARGEST for number in numbers)
        if is_sized and is_scaled and all(len(about[name]) in (1, channels) for name in ("mean", "std")):
            return about
    raise BadData(f"{folder / ABOUT}: it does not say how the network is used. Run its cell again.")


def _select_by_key(records: Sequence[Record], what: str) -> list[Record]:
    if len(what) < LEAST_KEY:
        return []
    stages = ("backbone", "score")
    return [record for record in records if any(record["keys"][stage].startswith(what) for stage in stages)]


def _select_by_name(records: Sequence[Record], what: str, results: Path) -> Sequence[Mapping[str, Any]]:
    """Return the records of a row: of all its words and of what its axes say."""
    parts = [part.strip() for part in BEFORE_AXIS.split(what)]
    words = [
        word for part in parts if "=" not in part for side in part.split("/") for word in side.split(",")
    ]
    kept: Sequence[Any] = records
    for word in map(str.strip, words):
        kept = [record for record in kept if word in _names_of(record)]
        if not kept:
            known = {name for record in records for name in _names_of(record)}
            raise UnknownName(f"nothing in {results} is {what!r}: no row of {word!r}.{suggest(word, known)}")
    conditions = parse_conditions([part for part in parts if "=" in part])
    return select_records(kept, conditions, option=repr(what))


def _names_of(record: Mapping[str, Any]) -> set[str]:
    cell = {format_value(record["cell"][field]) for field in NAMING if record["cell"].get(field)}
    return cell | set(titles_of(record))


def _title(records: Sequence[Mapping[str, Any]], key: str) -> str:
    record = next(record for record in records if record["keys"]["backbone"] == key)
    cell, (trained_on, _) = record["cell"], titles_of(record)
    return f"{cell['method']} {cell['backbone']} {trained_on} seed {cell.get('seed')}"


def build_stored(made: Made, registry: Registry) -> StoredBackbone:
    """Return the network of an artifact with its weights, which fit whole or not at all.

    Raises:
        BadData: its record does not say how it is built, or its weights do not fit.
        BadPlugin: the backbone's plugin is another one than made it.
        UnknownName: it is not installed.
    """
    record = made.records[0]
    name, config = record["cell"]["backbone"], (record.get("config") or {}).get("backbone") or {}
    if not {"version", "dist"} <= config.keys():
        title = _title(made.records, made.key)
        raise BadData(f"{title}: its record does not say how {name} is built. Run its cell again.")
    cls: type[Backbone] = registry.load_class("backbones", name)
    if cls.version != config["version"]:
        raise BadPlugin(
            f"{name}: it is of version {cls.version}, the stored backbone of {config['version']}. "
            f"Install the {config['dist']} that made it."
        )
    values = {
        field.name: config[field.name]
        for field in fields(cls.Config)
        if field.name in config and not field.metadata.get("file")  # a record has its digest
    }
    initial = cls.without_weights(build(cls.Config, values, name))
    backbone = cls(name, initial, made.about["channels"], made.about["image_size"])
    try:
        backbone.load_state_dict(load_file(made.folder / BACKBONE))
    except (RuntimeError, SafetensorError) as error:
        reason = shorten_text(join_lines(str(error)), MOST_LETTERS)
        raise BadData(f"{made.folder / BACKBONE}: it does not fit {name} ({reason}).") from None
    return StoredBackbone(backbone, made)

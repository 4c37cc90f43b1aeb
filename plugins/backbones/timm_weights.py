"""Bring weights into a timm model: whole, or not at all."""

from __future__ import annotations

import functools
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from bench.api import BadValue, Normalisation

from .checkpoint_files import find_backbone
from .timm_shapes import CANNOT, first_line

POSITIONS = re.compile(r"pos_embed|relative_position|rel_pos")
COUNTER = "num_batches_tracked"  # of a batch norm; not in files of before 2018, and in no feature


@functools.cache
def download(name: str) -> None:
    """Bring timm's weights of a model into its cache, where training finds them.

    Raises:
        BadValue: they cannot be had.
    """
    try:
        timm.create_model(name, pretrained=True, num_classes=0)
    except Exception as error:
        raise BadValue(
            f"{name}: timm's weights cannot be downloaded ({first_line(error)}). Connect to the internet, or "
            "set backbone.weights=FILE."
        ) from error


def read_weights(name: str, path: str, net: nn.Module) -> tuple[dict[str, Tensor], list[str]]:
    """Return a file's tensors as a model has them, and what a user should know of how they were found.

    The classifier that we do not build is left out. Position embeddings of another grid are resampled as timm
    does, if nothing else is of another shape.

    Args:
        name: timm's, of the model.
        path: of the file.
        net: the model; it may be without memory.

    Raises:
        BadValue: the file is not a checkpoint, or its values are not finite.
    """
    model = net.state_dict()
    found = find_backbone(path, model)
    heads = timm.get_pretrained_cfg_value(name, "classifier") or ()
    heads = (heads,) if isinstance(heads, str) else tuple(heads)
    state = {k: v for k, v in found.state.items() if not k.startswith(tuple(f"{h}." for h in heads))}
    notes = [note for note in (found.describe(),) if note]
    differing = [key for key in model.keys() & state.keys() if model[key].shape != state[key].shape]
    resample = getattr(sys.modules[type(net).__module__], "checkpoint_filter_fn", None)
    if differing and resample and all(POSITIONS.search(key) for key in differing):
        before = {key: tuple(state[key].shape) for key in differing}
        try:
            state = resample(state, net)
        except CANNOT:
            return state, notes  # `compare_weights` says how they differ
        notes += [
            f"{found.file}: {key} is resampled from {before[key]} to {tuple(state[key].shape)}."
            for key in sorted(differing)
        ]
    return state, notes


def known_normalisation(name: str) -> Normalisation:
    """Return the mean and deviation that timm's weights of a model were trained with."""
    known: Any = timm.get_pretrained_cfg(name)
    return Normalisation(mean=tuple(known.mean), std=tuple(known.std))


def read_normalisation(path: str) -> Normalisation | None:
    """Return the mean and deviation that a file of weights was trained with; None: it does not say.

    A safetensors file says it in its header, as `normalisation`, a JSON object with `mean` and `std`: what
    this harness saves does. Backbones that it saved earlier have it in `about.json` beside them.

    Raises:
        BadValue: what it says cannot be used.
    """
    file = Path(path)
    stated = _read_header(file).get("normalisation") if file.suffix == ".safetensors" else None
    beside = file.with_name("about.json")
    if stated is None and file.name == "backbone.safetensors" and beside.is_file():
        stated = beside.read_text(encoding="utf-8")
    if stated is None:
        return None
    try:
        said = json.loads(stated)
        mean, std = (tuple(float(value) for value in said[name]) for name in ("mean", "std"))
        return Normalisation(mean=mean, std=std)
    except (TypeError, ValueError, KeyError, BadValue) as error:
        raise BadValue(
            f"{file.name}: the mean and std it was trained with cannot be used ({first_line(error)}). "
            'Write them as {"mean": […], "std": […]}, a number a channel.'
        ) from None


def _read_header(file: Path) -> Mapping[str, str]:
    """Return the metadata of a safetensors file; none of one that `read_weights` refuses."""
    try:
        with safe_open(file, "pt") as opened:
            return opened.metadata() or {}
    except (OSError, SafetensorError):
        return {}


def compare_weights(state: Mapping[str, Tensor], model: Mapping[str, Tensor], file: str, what: str) -> None:
    """Refuse a checkpoint that lacks a tensor, has one too many, or one of another shape.

    Args:
        state: the checkpoint's tensors.
        model: the model's.
        file: the checkpoint, for the error.
        what: the model, its image size and its stem, for the error.

    Raises:
        BadValue: they differ; the error names the tensors.
    """
    missing = sorted(k for k in model.keys() - state.keys() if not k.endswith(COUNTER))
    extra = sorted(state.keys() - model.keys())
    shapes = sorted(k for k in model.keys() & state.keys() if model[k].shape != state[k].shape)
    differences = {"lacks": missing, "has in addition": extra, "has in another shape": shapes}
    parts = [f"{verb} {_list_keys(keys)}" for verb, keys in differences.items() if keys]
    if shapes:
        first = shapes[0]
        parts[-1] += f" ({first}: {tuple(state[first].shape)}, not {tuple(model[first].shape)})"
    if parts:
        raise BadValue(
            f"{Path(file).name}: not the weights of {what}: it {'; it '.join(parts)}. Set backbone.stem or "
            "--backbone as it was trained."
        )


def _list_keys(keys: list[str]) -> str:
    more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    return ", ".join(keys[:3]) + more

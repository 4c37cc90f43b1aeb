"""Find the tensors of a backbone in a file of weights, whichever library wrote it.

Read are PyTorch's files, of which tensors alone are unpickled, and safetensors. Frameworks put the backbone
into nests (`state_dict`, `model`, `teacher`) and under a name (Lightning's `model.backbone.`, DINO's
`backbone.`, MoCo's `module.encoder_q.`, DataParallel's `module.`, torch.compile's `_orig_mod.`). The names
that the model has say which it is: the beginning under which most of them are.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from bench.api import BadValue

from .timm_shapes import first_line

LFS = b"version https://git-lfs.github.com/spec/"
OWN = "net."  # before the names of what this harness saves
NESTS = (  # the first that there is; of a teacher and a student, papers evaluate the teacher
    "state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model", "teacher", "student",
    "target_encoder", "encoder", "backbone", "net", "network", "module", "params", "weights",
)  # fmt: skip
SECOND = re.compile(
    r"momentum|encoder_k|key|target|student|ema|predictor"
)  # networks beside the one that is meant
HARMLESS: list[Any] = [
    argparse.Namespace,
    np.dtype,
    type(np.dtype("float64")),
    type(np.dtype("int64")),
]  # beside tensors
OBJECT = re.compile(r"GLOBAL ([\w.]+)")
SHOWN = 3  # names


@dataclass(frozen=True)
class Found:
    """The tensors of a backbone, as a file has them.

    Args:
        state: by the model's names.
        file: its name.
        nests: where they were in the file, from the outermost.
        prefix: what was taken off their names.
        left: other names of the nest.
    """

    state: dict[str, Tensor]
    file: str
    nests: tuple[str, ...] = ()
    prefix: str = ""
    left: tuple[str, ...] = ()

    def describe(self) -> str:
        """Return what was taken of the file, where that is not all of it under its own names."""
        if not self.left and self.prefix in ("", OWN) and self.nests in ((), ("state_dict",), ("model",)):
            return ""
        nest = f" of {'.'.join(self.nests)}" if self.nests else ""
        prefix = f", {self.prefix} taken off their names" if self.prefix else ""
        starts = list(dict.fromkeys(_shorten(name) for name in self.left))
        more = f" and {len(starts) - SHOWN} more" if len(starts) > SHOWN else ""
        left = f"; left out: {', '.join(starts[:SHOWN])}{more}" if starts else ""
        return f"{self.file}: {len(self.state)} tensors{nest} are the backbone{prefix}{left}."


def find_backbone(path: str, wanted: Collection[str]) -> Found:
    """Return the tensors of a file that are a model's, by the model's names.

    Args:
        path: of the file.
        wanted: the names of the model's tensors.

    Raises:
        BadValue: it is no checkpoint, several, or has values that are not finite.
    """
    content = _read(path)
    nests: list[str] = []
    while not _is_state(content):
        name = _choose_nest(path, content)
        nests.append(name)
        content = content[name]
    state = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    prefix = _choose_prefix(state, wanted)
    own = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    _refuse_infinite(path, own)
    left = tuple(name for name in state if not name.startswith(prefix))
    return Found(own, Path(path).name, tuple(nests), prefix, left)


def _read(path: str) -> Any:
    """Return what a file holds, tensors on the CPU.

    Raises:
        BadValue: it cannot be read; the error says why.
    """
    start = b""
    try:
        with Path(path).open("rb") as file:
            start = file.read(len(LFS))
        if start[8:9] == b"{" and start[:2] != b"PK":  # a header's length in 8 bytes, then JSON
            return load_file(path)
        with torch.serialization.safe_globals(HARMLESS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise BadValue(f"{path}: not a checkpoint that can be read{_explain(start, error)}") from error


def _explain(start: bytes, error: Exception) -> str:
    """Return why a file cannot be read, and what to do, by its first bytes and by what the library says."""
    if start == LFS:
        return ": it is a Git LFS pointer. Run `git lfs pull` in its repository."
    if start[:1] == b"<":
        return ": it is a web page. Download the file itself."
    if found := OBJECT.search(str(error)):
        return (
            f": it has Python objects ({found[1]}), which could run anything. Load it where it is from, and "
            "save its state_dict() alone."
        )
    return f" ({first_line(error)})."


def _is_state(content: Any) -> bool:
    """Tell whether something is a state: its tensors are more than the dictionaries in it."""
    if not isinstance(content, Mapping):
        return False
    tensors = sum(isinstance(value, Tensor) for value in content.values())
    return tensors > sum(isinstance(value, Mapping) for value in content.values())


def _choose_nest(path: str, content: Any) -> str:
    """Return the name under which the tensors are.

    Raises:
        BadValue: there are none, or that cannot be told.
    """
    nests = content if isinstance(content, Mapping) else {}
    names = [name for name, value in nests.items() if isinstance(value, Mapping) and _holds_tensors(value)]
    if known := [name for name in NESTS if name in names]:
        return known[0]
    if len(names) == 1:
        return str(names[0])
    what = f"{len(names)} sets of weights ({', '.join(map(str, names[:SHOWN]))})" if names else "no tensors"
    raise BadValue(
        f"{path}: not a checkpoint that can be read: it has {what}. Save the state_dict() of one network."
    )


def _holds_tensors(value: Mapping[Any, Any]) -> bool:
    return any(
        isinstance(one, Tensor) or (isinstance(one, Mapping) and _holds_tensors(one))
        for one in value.values()
    )


def _choose_prefix(state: Collection[str], wanted: Collection[str]) -> str:
    """Return the beginning of names under which most of the model's names are; empty where none is better."""
    known = set(wanted)
    votes: Counter[str] = Counter({"": 0})
    for name in state:
        parts = name.split(".")
        for cut in range(len(parts)):
            if ".".join(parts[cut:]) in known:
                votes["".join(f"{part}." for part in parts[:cut])] += 1
    return min(votes, key=lambda start: (-votes[start], bool(SECOND.search(start)), len(start)))


def _refuse_infinite(path: str, state: Mapping[str, Tensor]) -> None:
    """Refuse weights of which a value is infinite or not a number.

    Raises:
        BadValue: there is one; the error names the tensors.
    """
    broken = [
        name for name, value in state.items() if value.is_floating_point() and not value.isfinite().all()
    ]
    if broken:
        more = f" and {len(broken) - SHOWN} more" if len(broken) > SHOWN else ""
        raise BadValue(
            f"{Path(path).name}: values of {', '.join(broken[:SHOWN])}{more} are infinite or not a number: "
            "the training that wrote it diverged, or it is damaged. Use an earlier checkpoint."
        )


def _shorten(name: str) -> str:
    """Return the beginning of a name, up to its second dot."""
    parts = name.split(".")
    return name if len(parts) < 3 else ".".join(parts[:2]) + ".…"

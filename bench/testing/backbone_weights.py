"""Check the settings of a backbone that name a file of weights: it starts from them, or says why not."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import fields, replace
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from bench.contracts.backbone import Backbone
from bench.errors import BenchError
from bench.storage.tensors import cpu_copies
from bench.testing.checks import Check, require
from bench.testing.process_state import seeded

State = dict[str, Tensor]


def weight_checks(backbone: Backbone) -> Iterator[Check]:
    """Yield the checks of each setting that is a file, which is taken for one of weights."""
    for field in fields(backbone.built_for[1]):
        if field.metadata.get("file"):
            checks = {
                "a file that is not there is refused in one line": _missing,
                "a file without its tensors is refused": _foreign,
                "a file of its own state is where it starts": _own,
            }
            for title, body in checks.items():
                yield f"{field.name}: {title}", partial(body, backbone, field.name)


def _build(backbone: Backbone, setting: str, path: Path) -> Backbone | None:
    """Build it from a file of weights, from another seed; none if it says that it cannot."""
    name, config, channels, size = backbone.built_for
    config = replace(config, **{setting: str(path)})
    try:
        backbone.check(name, config, channels, size)
        with seeded(9):
            return type(backbone)(name, config, channels, size)
    except BenchError as error:
        require("\n" not in str(error), f"the error has more than one line: {error}")
    return None


def _files(folder: Path, state: State) -> Iterator[Path]:
    """Write a state in the usual formats, and yield the files."""
    torch.save(state, folder / "weights.pth")
    yield folder / "weights.pth"
    save_file(cpu_copies(state), folder / "weights.safetensors")
    yield folder / "weights.safetensors"


def _missing(backbone: Backbone, setting: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        built = _build(backbone, setting, Path(folder) / "not-there.pth")
    require(built is None, "it is built without; raise BadValue that names the file")


def _foreign(backbone: Backbone, setting: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for path in _files(Path(folder), {"of.another.network": torch.ones(3)}):
            built = _build(backbone, setting, path)
            require(built is None, f"of {path.suffix} it starts anew, unsaid: load strictly")


def _own(backbone: Backbone, setting: str) -> None:
    """Start from what one of it has come to: of a format that it takes, every tensor is there."""
    state = backbone.state_dict()
    with tempfile.TemporaryDirectory() as folder:
        for path in _files(Path(folder), state):
            built = _build(backbone, setting, path)
            found = {} if built is None else built.state_dict()
            lost = [name for name, value in found.items() if not torch.equal(value, state[name])]
            require(
                not lost,
                f"{', '.join(lost[:3])} of {path.suffix} are not taken: load strictly, by their names",
            )

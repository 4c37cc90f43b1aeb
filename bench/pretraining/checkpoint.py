"""A pretraining that can be stopped: its whole state after a step, in one file.

The file says which training it is of and has a digest of its tensors: another training's, or a flipped bit,
is not believed. No random state is in it: every draw is a function of its place in the run
(`bench.keys.seed_of`).
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from bench.storage.durable import share, sync
from bench.storage.set_aside import set_aside
from bench.storage.tensors import cpu_copies
from bench.system.disk import find_os_error

FILE = "checkpoint.safetensors"
PART = f"{FILE}.part"  # while it is written
STATE = "state"  # entry of the file's metadata

Log = list[dict[str, Any]]  # what `metrics.jsonl` has, an epoch each

logger = logging.getLogger("bench")


class EpochPart(NamedTuple):
    """The part of an epoch that is done.

    Args:
        steps: how many, at least 1.
        seconds: that they took.
        names: of the terms of the loss.
        rows: the terms of each step.
    """

    steps: int
    seconds: float
    names: list[str]
    rows: list[list[float]]


class TrainingProgress(NamedTuple):
    """How far a training has come.

    Args:
        log: a line an epoch that is done.
        threads: of the processor, of each process in turn that had another number than the one before.
        devices: as `threads`.
        part: of the epoch after these; none at the end of an epoch.
    """

    log: Log
    threads: tuple[int, ...] = ()
    devices: tuple[int, ...] = ()
    part: EpochPart | None = None


class NotBelieved(Exception):
    """A checkpoint is not what a training of this key left."""


class Checkpoint:
    """The checkpoint of one training.

    Args:
        folder: where it is.
        key: of the training.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.folder, self.key = folder, key
        self.path = folder / FILE

    def save(
        self,
        method: nn.Module,
        optimizer: torch.optim.Optimizer,
        scaler: torch.amp.GradScaler,
        progress: TrainingProgress,
    ) -> None:
        """Write the state after a step, in place of an earlier one.

        Args:
            method: that is trained.
            optimizer: that trains it.
            scaler: of the loss.
            progress: that it has made.

        Raises:
            OSError: it cannot be written, e.g. the disk is full; the earlier one is kept.
        """
        tensors = {f"method.{name}": value for name, value in method.state_dict().items()}
        for number, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{name}": value for name, value in state.items()}
        tensors = cpu_copies(tensors)
        state = {"key": self.key, **progress._asdict(), "scaler": scaler.state_dict()}
        state["digest"] = _hash_all(state, tensors)
        part = self.folder / PART
        try:
            save_file(tensors, part, metadata={STATE: json.dumps(state)})
            share(part)
            sync(part)
            os.replace(part, self.path)
        except Exception as error:
            part.unlink(missing_ok=True)  # what there is of it would take the room of the artifact
            if fault := find_os_error(error):  # that of safetensors is no OSError
                raise fault from None
            raise

    def resume(
        self, method: nn.Module, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler
    ) -> TrainingProgress:
        """Load the state that an earlier process left, if it left one, and return how far it came.

        One that is damaged or of another training is set aside with a warning.
        """
        try:
            state, tensors = self._read()
            _refuse_other_networks(method, tensors)
        except FileNotFoundError:
            return TrainingProgress([])
        except NotBelieved as error:
            target = set_aside(self.path)
            logger.warning(
                "%s: %s. It is set aside as %s, and the training begins anew.", self.path, error, target.name
            )
            return TrainingProgress([])
        method.load_state_dict(_below("method", tensors))
        _load_optimizer(optimizer, _below("optimizer", tensors))
        scaler.load_state_dict(state["scaler"])
        part = state.get("part")
        threads, devices = tuple(state["threads"]), tuple(state.get("devices", (1,)))
        return TrainingProgress(state["log"], threads, devices, part and EpochPart(*part))

    def forget(self) -> None:
        """Remove the checkpoint of a run that is finished, and what a dead process left of one."""
        for name in (FILE, PART):
            (self.folder / name).unlink(missing_ok=True)

    def _read(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return the file's state and tensors.

        Raises:
            FileNotFoundError: there is none.
            NotBelieved: it is not whole, or not of this training.
        """
        try:
            with safe_open(self.path, framework="pt") as file:
                state = json.loads(file.metadata()[STATE])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            key, written = state["key"], state.pop("digest")
        except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise NotBelieved("the checkpoint is damaged or of an older bench") from None
        if key != self.key:
            raise NotBelieved(f"the checkpoint is of another training, {key}")
        if written != _hash_all(state, tensors):
            raise NotBelieved("the checkpoint is damaged: its digest is another")
        return state, tensors


def cpu_state(optimizer: torch.optim.Optimizer) -> dict[int, dict[str, Any]]:
    """Return what an optimiser keeps of each parameter, with tensors on the CPU."""
    state: dict[int, dict[str, Any]] = optimizer.state_dict()["state"]
    return {
        number: {name: value.cpu() if isinstance(value, Tensor) else value for name, value in kept.items()}
        for number, kept in state.items()
    }


def _hash_all(state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """Return the digest of everything that a checkpoint holds."""
    result = hashlib.sha256(json.dumps(state, sort_keys=True).encode())
    for name in sorted(tensors):
        value = tensors[name].contiguous()
        result.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        result.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return result.hexdigest()


def _refuse_other_networks(method: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Raise NotBelieved if the state of `method` has other names or shapes, as after a change of its code."""
    saved = {name: value.shape for name, value in _below("method", tensors).items()}
    if saved != {name: value.shape for name, value in method.state_dict().items()}:
        raise NotBelieved("the checkpoint is of a network that is built in another way")


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    params = [param for group in optimizer.param_groups for param in group["params"]]
    state: dict[int, dict[str, Any]] = {}
    for name, value in tensors.items():
        number, field = name.split(".", 1)
        state.setdefault(int(number), {})[field] = _laid_out_like(params[int(number)], value)
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _laid_out_like(param: Tensor, value: Tensor) -> Tensor:
    """Return an entry of a parameter's state with its strides: sums in another order differ in a bit."""
    alike = value.shape == param.shape
    return torch.empty_like(param, dtype=value.dtype, device="cpu").copy_(value) if alike else value


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    start = f"{prefix}."
    return {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}

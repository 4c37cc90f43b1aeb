"""A pretraining that can be stopped: its whole state at the end of an epoch, in one file.

No random state is in it: every draw is a function of its place in the run (`bench.keys.seed_of`).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from bench.storage.tensors import cpu_copies

FILE = "checkpoint.safetensors"
PART = f"{FILE}.part"  # while it is written


class Progress(NamedTuple):
    """How far a training has come.

    Args:
        epochs: that are done.
        seconds: that they took.
        threads: of the processor, of each process in turn that had another number than the one before.
    """

    epochs: int
    seconds: float
    threads: tuple[int, ...] = ()


def save(
    folder: Path,
    method: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    done: Progress,
) -> None:
    """Write the state of a training that has come so far, in place of an earlier one."""
    tensors = {f"method.{name}": value for name, value in method.state_dict().items()}
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": value for name, value in state.items()}
    progress = {**done._asdict(), "scaler": scaler.state_dict()}
    save_file(cpu_copies(tensors), folder / PART, metadata={"state": json.dumps(progress)})
    os.replace(folder / PART, folder / FILE)


def resume(
    folder: Path,
    method: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
) -> Progress:
    """Load the state of an earlier process, if it left one, and return how far it came."""
    try:
        with safe_open(folder / FILE, framework="pt") as file:
            progress = json.loads(file.metadata()["state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (FileNotFoundError, SafetensorError):  # there is none, or it is not whole: start afresh
        return Progress(0, 0.0)
    method.load_state_dict(_below("method", tensors))
    params = [param for group in optimizer.param_groups for param in group["params"]]
    state: dict[int, dict[str, Any]] = {}
    for name, value in _below("optimizer", tensors).items():
        number, field = name.split(".", 1)
        state.setdefault(int(number), {})[field] = _laid_out_like(params[int(number)], value)
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    scaler.load_state_dict(progress["scaler"])
    return Progress(progress["epochs"], progress["seconds"], tuple(progress.get("threads", ())))


def forget(folder: Path) -> None:
    """Remove the checkpoint of a run that is finished, and what a dead process left of one."""
    for name in (FILE, PART):
        (folder / name).unlink(missing_ok=True)


def _laid_out_like(param: Tensor, value: Tensor) -> Tensor:
    """Return an entry of a parameter's state with its strides: sums in another order differ in a bit."""
    alike = value.shape == param.shape
    return torch.empty_like(param, dtype=value.dtype, device="cpu").copy_(value) if alike else value


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    start = f"{prefix}."
    return {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}

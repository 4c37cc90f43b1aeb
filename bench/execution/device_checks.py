"""Refuse, before anything starts, what several devices cannot do together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch

from bench.contracts.executor import Executor
from bench.errors import BadValue, NoDevice
from bench.execution.team import Joined
from bench.planning.cells import Cell
from bench.planning.options import Runtime
from bench.pretraining.gradient_cache import even_chunks
from bench.registry.registry import Registry
from bench.system.device import list_devices


def count_devices(
    runtime: Runtime, executor: Executor, device: torch.device, joined: Joined | None
) -> Runtime:
    """Return what was asked for with the number of devices that a cell is made on.

    Args:
        runtime: what was asked for.
        executor: that shares the cells out.
        device: what `--device` stands for.
        joined: the processes of `torchrun`, of which each is one.

    Raises:
        NoDevice: there are not as many here, where they are to be here.
        BadValue: the device is one, or `torchrun` has started others.
    """
    if joined:
        if runtime.devices not in (1, joined.size):
            raise BadValue(
                f"--devices: {runtime.devices} were asked for, but torchrun has started {joined.size} "
                "processes. Leave it out."
            )
        if runtime.jobs > 1 or runtime.executor not in (None, "in-process"):
            raise BadValue(
                "--jobs, --executor: the processes of torchrun make one cell together. Leave both out, or "
                "use --devices instead of torchrun."
            )
        runtime = replace(runtime, devices=joined.size)
    if runtime.devices == 1:
        return runtime
    asked = f"--devices: {runtime.devices} were asked for"
    if device.type == "mps" or (device.type == "cuda" and device.index is not None):
        raise BadValue(f"{asked}, but --device {device} is one. Use --device cuda or cpu.")
    if executor.device:  # there are as many on other machines as the executor asks for
        return runtime
    if runtime.gpus and runtime.devices > runtime.gpus_per_cell:
        raise BadValue(
            f"{asked}, but a cell has {runtime.gpus_per_cell} of --gpus. "
            f"Use --gpus-per-cell {runtime.devices}."
        )
    there = len(list_devices(device))
    needed = joined.local_size if joined else runtime.jobs * runtime.devices
    if device.type == "cuda" and needed > there:
        by = f" by each of {runtime.jobs} --jobs" if runtime.jobs > 1 else ""
        most = max(1, there // runtime.jobs)
        raise NoDevice(
            f"{asked}{by}, but there {'is 1 GPU' if there == 1 else f'are {there} GPUs'} here. "
            f"Use --devices {most}."
        )
    return runtime


def share_threads(processes: int, threads: int = 0) -> int:
    """Return how many threads each of several processes has.

    Args:
        processes: that there are.
        threads: of all of them together; 0 is those of this process.
    """
    return max(1, (threads or torch.get_num_threads()) // processes)


def refuse_unshareable(cells: Iterable[Cell], devices: int, registry: Registry) -> None:
    """Refuse a training whose images are too few for the devices, or that several cannot do.

    Args:
        cells: of the grid.
        devices: that make each together.
        registry: of the methods.

    Raises:
        BadValue: there is one.
    """
    for cell in cells:
        training = cell.training
        if training is None or devices == 1:
            continue
        if registry.load_class("methods", cell.method.name).one_device:
            raise BadValue(f"--devices: {cell.method.name} trains on one device. Leave one of them out.")
        if training.compile:
            raise BadValue("--devices: train.compile is for one device. Leave one of them out.")
        fewest = min(part.stop - part.start for part in even_chunks(training.batch_size, training.chunk_size))
        if fewest < devices:
            what = "train.chunk_size" if training.chunk_size else "--batch-size"
            raise BadValue(
                f"--devices: {fewest} images at a time cannot be shared out to {devices} devices. "
                f"Raise {what}, or use at most --devices {fewest}."
            )

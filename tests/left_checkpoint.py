"""Leave the checkpoint of a training that was stopped."""

from __future__ import annotations

from pathlib import Path

import torch
from conftest import Lab

from bench.execution.assembly import build_method
from bench.planning.cells import Cell
from bench.pretraining.checkpoint import FILE, Checkpoint, TrainingProgress
from bench.pretraining.optimizers import build_optimizer


def leave_checkpoint(lab: Lab, trained: Cell, folder: Path) -> Path:
    """Write the checkpoint that a training leaves which was stopped after its first epoch."""
    info = lab.datasets.open(trained.dataset).info
    method = build_method(trained, lab.registry, info)
    for parameter in method.parameters():
        parameter.grad = torch.ones_like(parameter)
    assert trained.training is not None
    optimizer = build_optimizer(method, trained.training)
    optimizer.step()
    folder.mkdir(parents=True)
    line = {"epoch": 1, "seconds": 1.0, "images_per_s": 1.0}
    checkpoint = Checkpoint(folder, trained.keys.backbone)
    checkpoint.save(method, optimizer, torch.amp.GradScaler("cpu", enabled=False), TrainingProgress([line]))
    return folder / FILE

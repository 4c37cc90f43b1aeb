"""What tests of keys share: a cell to change, and which of its keys a change moves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from conftest import Lab
from PIL import Image

from bench.planning.cells import Cell

BELOW = {"backbone": ("backbone", "features", "score"), "features": ("features", "score"),
         "score": ("score",), "nothing": ()}  # fmt: skip
TRAIN = {  # every field of TrainConfig at another value than in `plan_one`
    "epochs": 40,
    "budget": 5e5,
    "batch_size": 24,
    "chunk_size": 8,
    "accumulate": 2,
    "image_size": 20,
    "precision": "bfloat16",
    "optimizer": "adamw",
    "lr": 0.3,
    "trust": 0.02,
    "clip_trust": True,
    "lr_scaling": "linear",
    "weight_decay": 0.01,
    "momentum": 0.8,
    "warmup_epochs": 1,
    "compile": True,
    "betas": [0.9, 0.95],
    "nesterov": True,
    "min_lr": 0.01,
    "weight_decay_end": 0.1,
    "clip_norm": 1.0,
    "clip_scope": "parameter",
    "layer_decay": 0.75,
}


def topmost_change(before: Cell, after: Cell) -> str:
    """Return the topmost key that differs, and make sure that all below it do."""
    differs = {
        "backbone": before.keys.backbone != after.keys.backbone,
        "features": before.keys.features != after.keys.features,
        "score": before.keys.score != after.keys.score,
    }
    changed = tuple(stage for stage, is_other in differs.items() if is_other)
    return next(stage for stage, below in BELOW.items() if below == changed)


def only(cells: list[Cell]) -> Cell:
    (cell,) = cells
    return cell


def plan_one(lab: Lab, settings: dict[str, Any] | None = None, **axes: Any) -> Cell:
    """Return the cell of a training that is long enough for every setting to count."""
    long = {"train.epochs": 30, "train.lr": 0.1, "dataset.max_train": 60}
    return only(lab.plan({**long, **(settings or {})}, **{"method": "simclr", **axes}))


def photos(root: Path, shade: int = 0) -> Path:
    """Write two classes of coloured images; `shade` is that of one pixel of one of them."""
    for split, count in (("train", 20), ("test", 4)):
        for number_of_class, name in enumerate(("1", "2")):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                image = Image.new("RGB", (16, 16), (10 * number, 100 * number_of_class, 50))
                image.putpixel((0, 0), (0, 0, shade if number == 0 else 0))
                image.save(root / split / name / f"{number}.bmp")
    return root

"""Published results of SSL methods: what `results.csv` has, by the names that bench has."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

NAMES = {  # of methods: as they are published, in small letters and without spaces and hyphens
    "simclr": "simclr",
    "simclrv2": "",
    "moco(asymmetric)": "mocov2",
    "moco(symmetric)": "mocov2",
    "moco": "mocov2",
    "mocov2": "mocov2",
    "mocov2+": "mocov2",
    "mocov3": "mocov3",
    "nnclr": "nnclr",
    "dcl": "dcl",
    "dclw": "dcl",
    "simclr+dcl": "dcl",
    "simclr+dclw": "dcl",
    "ressl": "ressl",
    "byol": "byol",
    "simsiam": "simsiam",
    "dino": "dino",
    "vicreg": "vicreg",
    "vicreg,noprojector": "vicreg",
    "barlowtwins": "barlow_twins",
    "vibcreg": "vibcreg",
    "lejepa": "lejepa",
    "sigreg/lejepastyle(bcs)": "lejepa",
    "sigreg/lejepastyle(bcs),noprojector": "lejepa",
    "wmse": "wmse",
    "swav": "swav",
    "swav(multicrop)": "swav",
    "swavqueue": "swav",
    "deepclusterv2": "deepcluster_v2",
    "mae": "mae",
    "supcon": "supcon",
    "supervised": "supervised",
    "supervisedce": "supervised",
    "randominit": "random",
}
DATASETS = {"CIFAR-10": "cifar10", "CIFAR-100": "cifar100"}


@dataclass(frozen=True, kw_only=True)
class PublishedResult:
    """One published number.

    Args:
        published: the method as its source calls it.
        method: its name in bench; empty where bench has none.
        dataset: as its source calls it, or by bench's name.
        backbone: as its source calls it.
        epochs: of pretraining; none where the source does not say.
        batch_size: likewise.
        evaluator: how it was measured, e.g. `linear`, `knn200`, or `online_linear`, a probe beside the
            training.
        top1: in percent.
        source: repository at a commit, or paper, and where in it; and what is known to differ.
    """

    published: str
    method: str
    dataset: str
    backbone: str
    epochs: int | None
    batch_size: int | None
    evaluator: str
    top1: float
    source: str


@cache
def load_published() -> tuple[PublishedResult, ...]:
    """Return all published results, in the order of the file."""
    text = files("bench.published").joinpath("results.csv").read_text(encoding="utf-8")
    return tuple(
        PublishedResult(
            published=row["method"],
            method=NAMES.get(row["method"].lower().replace(" ", "").replace("-", ""), ""),
            dataset=DATASETS.get(row["dataset"], row["dataset"]),
            backbone=row["backbone"],
            epochs=int(row["epochs"]) if row["epochs"] else None,
            batch_size=int(row["batch_size"]) if row["batch_size"] else None,
            evaluator=row["evaluator"],
            top1=float(row["top1"]),
            source=row["source"],
        )
        for row in csv.DictReader(text.splitlines())
    )

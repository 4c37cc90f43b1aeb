"""Choose the defaults of the methods on held-out training images of CIFAR-10, with one effort for all.

The test images are never opened. Of the training images, 1,280 a class are trained on and 1,000 others a
class are held out; which ones is fixed by their names. A trial is 250 steps of 256 images, scored by `linear`
on the held-out images. Every method has five: its recipe, a third and three times its learning rate, and two
other published values of one setting of its own.

    python benchmarks/choose_recipes.py CIFAR10 --results choice --seed 0,1

CIFAR10 is a folder with `train/<class>/*.png`. What was found, what follows from it and what does not is in
docs/decisions, number 9.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tabulate import tabulate

from bench.api import DatasetInfo
from bench.registry.registry import Registry
from bench.storage.records import RecordStore

TRAINED, HELD_OUT = 1_280, 1_000  # images a class
COMMON = (
    "--set backbone.stem=standard --dataset image_folder --image-size 32 --epochs 5 --eval linear --threads 1"
)
OWN: dict[
    str, tuple[str, tuple[float, ...]]
] = {  # a setting of each method, and two other published values of it
    "simclr": ("simclr.temperature", (0.1, 0.5)),  # Chen 2020, B.9 tries 0.1, 0.5 and 1
    "vicreg": ("vicreg.embedding_dim", (512, 4096)),  # Bardes 2022, table 12
    "byol": ("byol.momentum", (0.9, 0.996)),  # Grill 2020, table 5
    "swav": ("swav.epsilon", (0.02, 0.03)),  # facebookresearch/swav README
    "supervised": ("train.weight_decay", (1e-4, 1e-3)),  # He 2016, 4.2
}
CIFAR10 = DatasetInfo(classes=tuple("0123456789"), channels=3, size=32)


def main() -> None:
    """Run every trial that is not there yet, and print what each found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder with train/<class>/*.png")
    parser.add_argument("--results", type=Path, default=Path("choice"))
    parser.add_argument("--method", choices=tuple(OWN), action="append", help="only this one")
    parser.add_argument("--backbone", default="test_resnet", help="what is trained")
    parser.add_argument("--seed", default="0", help="one or several, N,…")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "cifar10-held-out"
        hold_out(args.data / "train", root)
        for method in args.method or OWN:
            for settings in list_trials(method):
                run(root, settings, "--method", method, "--backbone", args.backbone, "--seed", args.seed,
                    "--results", str(args.results))  # fmt: skip
    print(describe(args.results))  # noqa: T201 - a script's result


def hold_out(train: Path, root: Path, trained: int = TRAINED, held_out: int = HELD_OUT) -> None:
    """Link the images that are trained on below `root/train`, and those held out below `root/test`."""
    for folder in sorted(path for path in train.iterdir() if path.is_dir()):
        images = sorted(folder.glob("*.png"), key=lambda path: hashlib.sha256(path.name.encode()).digest())
        parts = {"train": images[:trained], "test": images[trained : trained + held_out]}
        for split, paths in parts.items():
            target = root / split / folder.name
            target.mkdir(parents=True)
            for path in paths:
                (target / path.name).symlink_to(path.resolve())


def list_trials(method: str) -> list[dict[str, float]]:
    """Return what is set in each trial of a method; nothing is its recipe."""
    cls: Any = Registry.load().load_class("methods", method)
    lr = cls.recipe_for(cls.Config(), CIFAR10, CIFAR10.size).lr
    name, others = OWN[method]
    rates = [{"train.lr": float(f"{lr * factor:.2g}")} for factor in (1 / 3, 3)]
    return [{}, *rates, *({name: value} for value in others)]


def run(root: Path, settings: dict[str, float], *options: str) -> None:
    """Run a trial; what is there already is not run again."""
    assignments = {"dataset.root": root, **settings}
    sets = [part for name, value in assignments.items() for part in ("--set", f"{name}={value}")]
    command = [sys.executable, "-m", "bench", "run", *COMMON.split(), *options, *sets]
    subprocess.run(command, check=True)  # noqa: S603 - our own arguments


def describe(results: Path) -> str:
    """Return the mean top-1 of each trial over its seeds, as a table."""
    records = [record for record in RecordStore(results).records() if record["status"] == "ok"]
    rows = []
    for method, (own, _) in OWN.items():
        for trial in list_trials(method):
            found = [
                record["metrics"]["top1"]["value"]
                for record in records
                if record["cell"]["method"] == method
                and {name: record["settings"].get(name) for name in ("train.lr", own)}
                == {name: trial.get(name) for name in ("train.lr", own)}
            ]
            words = ", ".join(f"{name}={value:g}" for name, value in trial.items()) or "its recipe"
            rows += [(method, words, statistics.fmean(found), len(found))] if found else []
    return tabulate(rows, ("method", "trial", "top1", "seeds"), tablefmt="github", floatfmt=".2f")


if __name__ == "__main__":
    main()

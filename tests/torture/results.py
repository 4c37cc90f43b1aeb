"""A results folder, what was made in it, and whether it is what an undisturbed run makes."""

from __future__ import annotations

import json
import statistics
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from runs import NOTES, STAGES, Run, note
from safetensors import safe_open

from bench.storage.artifacts import MANIFEST
from bench.storage.verifying import verify

PREDICTIONS = "predictions.safetensors"
OF_TIME = ("cost", "provenance")  # parts of a record that are others from run to run
OF_EPOCHS = ("seconds", "images_per_s")  # the same, of a line of a log


@dataclass
class Results:
    """A results folder.

    Args:
        folder: which.
        seconds: that each stage took, in the median of an undisturbed run.
        took: seconds of the whole run.
    """

    folder: Path
    seconds: dict[str, float] = field(default_factory=dict)
    took: float = 0.0
    _seen: dict[str, str] = field(default_factory=dict)

    @classmethod
    def make(cls, folder: Path) -> Results:
        """Return what an undisturbed run makes, with the seconds of its stages."""
        start = time.monotonic()
        run = Run(folder, trace=True)
        ended = run.wait()
        if ended.status or not list(folder.rglob("*.json")):
            raise RuntimeError(ended.said)
        results = cls(folder, took=time.monotonic() - start)
        taken: dict[str, list[float]] = defaultdict(list)
        for line in (run.beside / STAGES).read_text().splitlines():
            stage, seconds = line.split()
            taken[stage].append(float(seconds))
        results.seconds = {stage: statistics.median(seconds) for stage, seconds in taken.items()}
        return results

    @property
    def notes(self) -> Path:
        return self.folder.parent / f"{self.folder.name}-beside" / NOTES

    @property
    def records(self) -> dict[str, Path]:
        found = (self.folder / "records").rglob("[!.]*.json")
        return {path.name: path for path in found if "rejected" not in path.name}

    @property
    def artifacts(self) -> dict[str, Path]:
        """The files of artifacts, by key and name."""
        found = (self.folder / "artifacts").glob("[!.]*/*")
        return {f"{path.parent.name}/{path.name}": path for path in found if "rejected" not in str(path)}

    def torn(self) -> list[str]:
        """Return what is not as it was written, of what has its name; nothing was set aside, then."""
        return [] if not self.folder.exists() else list(verify(self.folder).wrong)

    def notice(self) -> None:
        """Note what is there after a kill: what a process did not live to note counts as made, too."""
        manifests = [path for path in self.artifacts.values() if path.name == MANIFEST]
        for path in (*self.records.values(), *manifests):
            note(self.notes, path)

    def gone(self) -> list[str]:
        """Return records that were there at the last kill and are not any more, or are of other bytes."""
        now = {name: path.read_text() for name, path in self.records.items()}
        lost = [name for name, said in self._seen.items() if now.get(name) != said]
        self._seen = now
        return lost

    def made_twice(self) -> list[str]:
        """Return the records, backbones and features of which more than one was made.

        Predictions are a part of a cell, which is made once its record is there.
        """
        parts = {path.parent.name for path in self.artifacts.values() if path.name == PREDICTIONS}
        files: dict[str, set[str]] = defaultdict(set)
        for line in self.notes.read_text().splitlines() if self.notes.exists() else ():
            name, _, which = line.partition(" ")
            if name.partition("/")[0] not in parts:
                files[name].add(which)
        return [f"{name} was made {len(which)} times" for name, which in files.items() if len(which) > 1]

    def compare(self, other: Results) -> tuple[list[str], list[str]]:
        """Return the records that another has and this has not, and what is not the same to the bit."""
        lost = [f"no record {name}" for name in other.records.keys() - self.records.keys()]
        differ = [
            f"the record {name} is another"
            for name, path in self.records.items()
            if name not in other.records or _record(path) != _record(other.records[name])
        ]
        for name, path in other.artifacts.items():
            mine = self.folder / path.relative_to(other.folder)
            if not mine.exists():
                is_parted_with = mine.with_name(
                    f"{mine.name}.rejected"
                ).exists()  # a log; its training is kept
                differ += [] if is_parted_with else [f"no {name}"]
            elif path.suffix == ".safetensors":
                differ += [f"{name}: {tensor} is another" for tensor in _list_changed(mine, path)]
            elif path.suffix == ".jsonl" and _epochs(mine) != _epochs(path):
                differ.append(f"{name} is another")
        return lost, differ

    def count_tensors(self) -> int:
        """Return how many tensors there are."""
        files = [path for path in self.artifacts.values() if path.suffix == ".safetensors"]
        return sum(len(_tensors(path)) for path in files)


def _record(path: Path) -> dict[str, Any]:
    said = json.loads(path.read_text())
    return {name: value for name, value in said.items() if name not in (*OF_TIME, "digest", "attempts")}


def _epochs(path: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in OF_EPOCHS} for line in lines]


def _tensors(path: Path) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Return type, shape and bytes of each tensor."""
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name).contiguous() for name in file.keys()}  # noqa: SIM118
    return {
        name: (str(value.dtype), tuple(value.shape), value.flatten().view(torch.uint8).numpy().tobytes())
        for name, value in tensors.items()
    }


def _list_changed(one: Path, other: Path) -> list[str]:
    mine, theirs = _tensors(one), _tensors(other)
    return [name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name)]

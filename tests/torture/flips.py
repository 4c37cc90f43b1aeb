"""Flip a bit of files of a results folder, and run again."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from runs import Run

from results import Results

KINDS = (  # of files: a glob below the artifacts, and what else tells which
    "record", "predictions.safetensors", "backbone.safetensors", "features.safetensors", "metrics.jsonl",
    "backbone about.json", "features about.json", "backbone manifest.json", "features manifest.json",
    "predictions manifest.json",
)  # fmt: skip


@dataclass(frozen=True)
class Flipped:
    """Files of which a bit was flipped, and a run after it.

    Args:
        files: which, below the results folder.
        results: the folder, after the run.
        silent: files that the run read as they were and said nothing of, a line each.
        is_bad: the run ended with another status than 0, or a traceback.
    """

    files: list[Path]
    results: Results
    silent: list[str]
    is_bad: bool


def flip_bits(folder: Path, reference: Results, count: int | None, draws: random.Random) -> Iterator[Flipped]:
    """Yield runs after a flip: of every file alone, of some that are drawn, or with 0 of one of each kind."""
    kinds = list_kinds(reference)
    files = sorted(path for paths in kinds.values() for path in paths)
    if count == 0:
        groups = [choose_apart(kinds, draws)]
    else:
        groups = [[path] for path in (files if count is None else draws.sample(files, count))]
    for number, group in enumerate(groups):
        yield flip(folder / str(number), reference, group, draws)


def list_kinds(reference: Results) -> dict[str, list[Path]]:
    """Return the files of a results folder below it, by their kind."""
    kinds: dict[str, list[Path]] = {kind: [] for kind in KINDS}
    kinds["record"] = [path.relative_to(reference.folder) for path in reference.records.values()]
    for path in reference.artifacts.values():
        whose = next(path.parent.glob("*.safetensors")).stem
        name = path.name if path.name in kinds else f"{whose} {path.name}"
        kinds[name].append(path.relative_to(reference.folder))
    return {kind: sorted(paths) for kind, paths in kinds.items()}


def choose_apart(kinds: dict[str, list[Path]], draws: random.Random) -> list[Path]:
    """Return a file of each kind, no two of one artifact where there are enough: one would hide the other."""
    chosen: list[Path] = []
    for paths in kinds.values():
        free = [path for path in paths if path.parent not in {one.parent for one in chosen}]
        chosen.append(draws.choice(free or paths))
    return chosen


def flip(folder: Path, reference: Results, files: list[Path], draws: random.Random) -> Flipped:
    """Flip a bit of each file in a copy, take away what would keep them from being read, and run."""
    shutil.copytree(reference.folder, folder)
    results = Results(folder)
    for path in files:
        flip_bit(folder / path, draws)
    flipped = {folder / path for path in files}
    if any("artifacts" in path.parts for path in files):
        for path in results.records.values():
            if path not in flipped:
                path.unlink()
    if any((path.parent / "backbone.safetensors").exists() for path in flipped):
        for path in list(results.artifacts.values()):
            if path.name == "features.safetensors" and not any(one.parent == path.parent for one in flipped):
                shutil.rmtree(path.parent)
    kept = {path: path.read_bytes() for path in flipped}
    ended = Run(folder).wait()
    silent = []
    for path in flipped:
        is_as_it_was = path.exists() and path.read_bytes() == kept[path]
        is_named = path.name in ended.said or path.parent.name in ended.said
        is_of_a_score = (
            reference.folder / path.relative_to(folder).parent / "predictions.safetensors"
        ).exists()
        if is_as_it_was or not (is_named or is_of_a_score):  # predictions are made with their record
            silent.append(f"{path.relative_to(folder)}: nothing was said of its flipped bit")
    return Flipped(files, results, silent, bool(ended.status) or "Traceback" in ended.said)


def flip_bit(path: Path, draws: random.Random) -> None:
    """Flip a bit of a file, so that it says something else: in JSON, 1e-5 and 1E-5 are one number."""
    content = path.read_bytes()
    while True:
        changed = bytearray(content)
        changed[draws.randrange(len(content))] ^= 1 << draws.randrange(8)
        if path.suffix == ".safetensors" or _says(bytes(changed)) != _says(content):
            break
    path.write_bytes(changed)


def _says(content: bytes) -> object:
    try:
        return [json.loads(part) for part in (content.splitlines() if b"\n{" in content[1:] else [content])]
    except ValueError:
        return None

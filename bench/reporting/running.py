"""Say in words what runs now in a results folder, and what died there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.bounds import is_number
from bench.plain_text import join_lines
from bench.system.heartbeat import Sighting, look_around
from bench.system.progress import Part, duration, fit_line, format_terms

QUIET_S = 60.0  # without a step, from which on it is said


class Running(NamedTuple):
    """What runs in a folder: a line for each run and each of its workers, and whether any is alive."""

    lines: tuple[str, ...]
    is_alive: bool


def describe_running(folder: str | Path, width: int | None = None) -> Running:
    """Return what runs now in a results folder, and what died there.

    Args:
        folder: of results.
        width: of a line of a worker, in letters; none has room for all.
    """
    sightings = look_around(Path(folder))
    runs: dict[str, list[Sighting]] = defaultdict(list)
    for sighting in sightings:
        runs[sighting.said["run"]].append(sighting)
    lines = tuple(line for own in runs.values() for line in _describe_run(own, width))
    return Running(lines, any(not sighting.is_silent for sighting in sightings))


def _describe_run(sightings: Sequence[Sighting], width: int | None) -> Iterator[str]:
    """Yield the lines of one run; a worker that died is named where all of the run did."""
    alive = [sighting for sighting in sightings if not sighting.is_silent]
    heads = [one for one in alive or sightings if one.said.get("kind") == "run"]
    workers = [one for one in alive or sightings if one.said.get("kind") == "worker"]
    first = next(iter(heads or workers or sightings))
    who = f"{_text(first.said, 'host')}, process {_text(first.said, 'pid')}"
    counts = _count_cells(heads[0].said) if heads else "its cells are counted elsewhere"
    if alive:
        yield f"running for {duration(_number(first.said, 'seconds'))}: {counts} ({who})"
    else:
        silence = duration(min(sighting.age_s for sighting in sightings))
        yield (
            f"died: no sign of life for {silence}, after {counts} ({who}). "
            "The same `bench run` again goes on from there."
        )
    for worker in workers:
        parts = _list_work(worker.said, is_alive=bool(alive))
        yield fit_line(f"  {_text(worker.said, 'cell')}:", parts, width)


def _count_cells(said: Mapping[str, Any]) -> str:
    text = f"{_number(said, 'done'):.0f} of {_number(said, 'cells'):.0f} cells done"
    failed = _number(said, "failed")
    return f"{text}, {failed:.0f} of them failed" if failed else text


def _list_work(said: Mapping[str, Any], *, is_alive: bool) -> list[Part]:
    """Return what a worker is at: the stage and, of a training, how far it is, first what matters most."""
    stage = _text(said, "stage") or "begins"
    if "epoch" not in said:
        return [Part(stage), Part(duration(_number(said, "stage_seconds")))]
    parts = [Part(stage, 2), Part(f"epoch {_number(said, 'epoch'):.0f}/{_number(said, 'epochs'):.0f}", 1)]
    terms = said.get("terms")
    total, *apart = _list_terms(terms) if isinstance(terms, dict) and terms else [""]
    parts.append(Part(total))
    if said.get("knn_top1") is not None:
        parts.append(Part(f"kNN {_number(said, 'knn_top1'):.1f} %", 3))
    if is_alive and "images_per_s" in said:
        parts.append(Part(f"{_number(said, 'images_per_s'):.0f} img/s", 4))
        parts.append(Part(f"{duration(_number(said, 'seconds_left'))} left"))
    quiet = _number(said, "quiet_seconds")
    if quiet > QUIET_S:
        parts.append(Part(f"no step for {duration(quiet)}"))
    return [*parts, *(Part(term, 5) for term in apart)]


def _list_terms(terms: Mapping[str, Any]) -> list[str]:
    """Return the loss, and its terms where there are several."""
    return format_terms({join_lines(name): _number(terms, name) for name in terms}).split("  ")


def _number(said: Mapping[str, Any], name: str) -> float:
    """Return a number of a file; 0 where it says none, for the file may be anything."""
    value = said.get(name)
    return float(value) if is_number(value) else 0.0


def _text(said: Mapping[str, Any], name: str) -> str:
    return join_lines(str(said.get(name, "?")))

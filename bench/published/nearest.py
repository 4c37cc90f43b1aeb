"""Find the published result that is nearest to one of ours, and say in words how they differ.

Considered are results that measure the same of the same method on the same data set: the same readout (a
linear one, neighbours, fine-tuning), of as many labels, of a network that was pretrained on that data or, as
ours, on other data. Anything else is another quantity. Of these the nearest is, in this order:

1. of the same backbone, best with the same stem;
2. of the nearest number of epochs, as a ratio; unknown numbers come last;
3. with the fewest other differences of protocol: an online probe, the best epoch on test, macro accuracy;
4. of the nearest batch size, as a ratio; then the one that comes first in the file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from bench.published.names import name_in_bench, plain
from bench.published.results import PublishedResult

SMALL_STEM = re.compile(r"\(CIFAR (stem|variant)")
READOUT = re.compile(r"((?P<place>online|offline|transfer)_)?(?P<name>.+?)(_(?P<share>\d+)pct)?(?P<k>\d+)?")
STEMS = {"small": "the stem for small images", "standard": "the standard stem"}
UNKNOWN = math.inf  # how far a number is that a source does not say


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How a number came to be, as far as it is known; what is not known is none.

    Args:
        backbone: its name.
        stem: `small` or `standard`.
        epochs: of pretraining.
        batch_size: of pretraining.
        readout: `linear`, `knn`, `finetune` or another.
        online: it was measured beside the training.
        transfer: on another data set than the training's.
        label_frac: the share of the labels that the readout had.
        k: how many neighbours voted.
        remarks: what else differs from a network of the last epoch and an accuracy over all images, in words.
    """

    backbone: str
    stem: str | None = None
    epochs: int | None = None
    batch_size: int | None = None
    readout: str
    online: bool = False
    transfer: bool = False
    label_frac: float = 1.0
    k: int | None = None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reference:
    """A published result beside one of ours, and how its protocol differs, in words."""

    result: PublishedResult
    differences: tuple[str, ...]


def find_nearest(
    results: Iterable[PublishedResult], method: str, dataset: str, ours: Protocol
) -> Reference | None:
    """Return the published result that is nearest to ours; none where none measures the same.

    Args:
        results: where to look; of two that are as near, the first is taken.
        method: by its name in bench.
        dataset: by its name in bench or as it is published.
        ours: how our number came to be.
    """
    wanted = name_in_bench("dataset", dataset) or dataset
    of_both = [(one, protocol_of(one)) for one in results if (one.method, one.dataset) == (method, wanted)]
    known = [pair for pair in of_both if _task_of(pair[1]) == _task_of(ours)]
    if not known:
        return None
    result, theirs = min(known, key=lambda pair: _distance(pair[1], ours))
    return Reference(result, tuple(describe_differences(theirs, ours)))


def protocol_of(result: PublishedResult) -> Protocol:
    """Return how a published number came to be, as far as its source says."""
    match = READOUT.fullmatch(result.evaluator)
    found = match.groupdict() if match else {"name": result.evaluator}
    share = found.get("share")
    return Protocol(
        backbone=re.sub(r"\s*\(.*", "", result.backbone),
        stem="small" if SMALL_STEM.search(result.backbone) else None,
        epochs=result.epochs,
        batch_size=result.batch_size,
        readout=str(found["name"]),
        online=found.get("place") == "online",
        transfer=found.get("place") == "transfer",
        label_frac=int(share) / 100 if share else 1.0,
        k=int(found["k"]) if found.get("k") else None,
        remarks=tuple(part.strip() for part in result.protocol.split(";") if part.strip()),
    )


def describe_differences(theirs: Protocol, ours: Protocol) -> Iterator[str]:
    """Yield what is different in a published result, in words, what matters most first."""
    if _is_other_backbone(theirs, ours):
        yield f"{theirs.backbone or 'a backbone that is not stated'}, not {ours.backbone}"
    if theirs.stem and ours.stem and theirs.stem != ours.stem:
        yield f"{STEMS[theirs.stem]}, not {_stem(ours.stem)}"
    if theirs.epochs != ours.epochs:
        yield _compare(theirs.epochs, ours.epochs, "epochs", "epochs")
    yield from _describe_probe(theirs, ours)
    if theirs.batch_size != ours.batch_size:
        yield _compare(theirs.batch_size, ours.batch_size, "images a batch", "batch size")


def _task_of(protocol: Protocol) -> tuple[object, ...]:
    """Return what two numbers must have in common to be of one quantity."""
    return readout_of(protocol.readout), protocol.label_frac, protocol.transfer


def _describe_probe(theirs: Protocol, ours: Protocol) -> Iterator[str]:
    if theirs.online != ours.online:
        yield "online probe" if theirs.online else "a probe after the training"
    yield from (remark for remark in theirs.remarks if remark not in ours.remarks)
    yield from (f"no {remark}" for remark in ours.remarks if remark not in theirs.remarks)
    if theirs.k and ours.k and theirs.k != ours.k:
        yield f"{theirs.k} neighbours, not {ours.k}"


def readout_of(evaluator: str) -> str:
    """Return the readout that an evaluator is, by the name that published results have for it."""
    return name_in_bench("readout", evaluator) or evaluator


def _distance(theirs: Protocol, ours: Protocol) -> tuple[float, ...]:
    """Return how far a published result is from ours, what goes first first."""
    return (
        2 * _is_other_backbone(theirs, ours) + (None in (theirs.stem, ours.stem) or theirs.stem != ours.stem),
        _ratio(theirs.epochs, ours.epochs),
        len(list(_describe_probe(theirs, ours))),
        _ratio(theirs.batch_size, ours.batch_size),
    )


def _is_other_backbone(theirs: Protocol, ours: Protocol) -> bool:
    known = name_in_bench("backbone", theirs.backbone) or theirs.backbone
    return plain(known) != plain(ours.backbone)


def _ratio(one: int | None, other: int | None) -> float:
    return UNKNOWN if not one or not other else abs(math.log(one / other))


def _stem(name: str) -> str:
    return STEMS.get(name, name)


def _compare(theirs: int | None, ours: int | None, unit: str, what: str) -> str:
    if theirs is None:
        return f"{what} not stated"
    text = f"{theirs:,} {unit.removesuffix('s') if theirs == 1 else unit}"
    return text if ours is None else f"{text}, not {ours:,}"

"""What an evaluator found last, for another one that asks for the same: several compare with `linear`."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from torch import Tensor

from bench.api import Scores, Task

_latest: dict[str, tuple[str, Scores]] = {}


def found(evaluator: str, config: Any, task: Task, evaluate: Callable[[], Scores]) -> Scores:
    """Return what `evaluate` finds, or what it found if the last task in this process was the same.

    Args:
        evaluator: its name.
        config: its settings.
        task: is compared by content; the network is no part of it.
        evaluate: is called if there is nothing to return.
    """
    asked = _content(config, task)
    known = _latest.get(evaluator)
    if known is None or known[0] != asked:
        known = _latest[evaluator] = asked, evaluate()
    return copy.deepcopy(known[1])


def clear() -> None:
    """Forget everything."""
    _latest.clear()


def _content(config: Any, task: Task) -> str:
    """Return a digest: of 60,000 features of 512 dimensions in a seventh of a second."""
    about = asdict(config), task.classes, task.seed, task.own_val, task.device
    digest = hashlib.blake2b(repr(about).encode())
    rows = (rows for fold in task.folds for rows in fold)
    for part in (task.train.x, task.train.y, task.test.x, task.test.y, *rows):
        digest.update(repr(part.shape).encode())
        digest.update(_bytes(part))
    return digest.hexdigest()


def _bytes(part: Tensor) -> Any:
    return part.contiguous().cpu().numpy().data

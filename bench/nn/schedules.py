"""What changes over a training, as plain functions of the share of it that is done.

    constant   start
    linear     start + (end - start) progress
    cosine     end - (end - start) (cos(pi progress) + 1) / 2
    warmup     linear over the first `share` of the training, `end` from there on

`progress` is `Step.progress`: the optimiser's steps done before this one, over all. Step k of K, counted from
0, has k / K, as in the authors' code of BYOL, MoCo v3 and DINO: the last is just short of `end`.
"""

from __future__ import annotations

import math

from bench.errors import BadValue, suggest

KINDS = ("constant", "linear", "cosine")


def constant_schedule(value: float, progress: float = 0.0) -> float:
    """Return `value`, whatever is done.

    Raises:
        ValueError: progress is not in [0, 1].
    """
    _check(progress)
    return value


def linear_schedule(start: float, end: float, progress: float) -> float:
    """Return the value on the line from `start` to `end`.

    Raises:
        ValueError: progress is not in [0, 1].

    Source: Assran 2023 (I-JEPA), arXiv:2301.08243, appendix A: the target encoder's momentum.
    """
    _check(progress)
    return start + (end - start) * progress


def cosine_schedule(start: float, end: float, progress: float) -> float:
    """Return the value on half a cosine wave from `start` to `end`, flat at both.

    cosine_schedule(tau_0, 1, k / K) is BYOL's tau = 1 - (1 - tau_0) (cos(pi k / K) + 1) / 2.

    Raises:
        ValueError: progress is not in [0, 1].

    Source: Grill 2020 (BYOL), arXiv:2006.07733, 3.2; google-deepmind/deepmind-research
    byol/utils/schedules.py.
    """
    _check(progress)
    return end - (end - start) * (math.cos(math.pi * progress) + 1) / 2


def warmup_schedule(start: float, end: float, progress: float, share: float) -> float:
    """Return the value on the line from `start` to `end` over the first `share`, and `end` after it.

    Args:
        start: the value before the first step.
        end: the value from `share` on.
        progress: in [0, 1].
        share: of the training, in [0, 1]; with 0 the value is `end` throughout.

    Raises:
        ValueError: progress or share is not in [0, 1].

    Source: the teacher's temperature of facebookresearch/dino main_dino.py, which moves once an epoch
    and is at `end` in the last of W epochs: of E epochs, that is a share of (W - 1) / E.
    """
    _check(share, "share")
    _check(progress)
    return end if progress >= share else linear_schedule(start, end, progress / share)


def schedule(kind: str, start: float, end: float, progress: float) -> float:
    """Return the value of the schedule of that name.

    Args:
        kind: constant, linear or cosine.
        start: the value before the first step; a constant is this one.
        end: the value after the last step.
        progress: in [0, 1].

    Raises:
        BadValue: there is no schedule of that name.
        ValueError: progress is not in [0, 1].
    """
    if kind == "constant":
        return constant_schedule(start, progress)
    if kind == "linear":
        return linear_schedule(start, end, progress)
    if kind == "cosine":
        return cosine_schedule(start, end, progress)
    raise BadValue(f"schedule: no schedule is named {kind!r}.{suggest(kind, KINDS)}")


def _check(share: float, name: str = "progress") -> None:
    """Raise a ValueError unless a share is one."""
    if not 0 <= share <= 1:
        raise ValueError(f"schedule: {name} is {share}, but is a share. Give a number in [0, 1].")

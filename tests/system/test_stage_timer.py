"""Where the time of a run goes: each second is one stage's."""

from __future__ import annotations

import contextlib

from bench.system.stage_timer import StageTimer


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_stage_inside_another_counts_for_itself_and_the_rest_is_the_harness() -> None:
    clock = Clock()
    timer = StageTimer(clock)
    clock.now += 1
    with timer.time("features"):
        clock.now += 2
        with timer.time("data"):
            clock.now += 4
        clock.now += 8
    with timer.time("data"):
        clock.now += 16

    assert timer.seconds() == {"harness": 1, "features": 10, "data": 20}


def test_a_stage_that_fails_is_counted_and_ended() -> None:
    clock = Clock()
    timer = StageTimer(clock)
    with contextlib.suppress(ValueError), timer.time("data"):
        clock.now += 2
        raise ValueError
    clock.now += 3

    assert timer.seconds() == {"data": 2, "harness": 3}


def test_the_table_has_the_longest_first_and_their_sum() -> None:
    clock = Clock()
    timer = StageTimer(clock)
    clock.now += 1
    with timer.time("pretrain"):
        clock.now += 3
    lines = [line.split() for line in timer.table().splitlines()]

    assert lines[2:] == [
        ["pretrain", "3.00", "75", "%"],
        ["harness", "1.00", "25", "%"],
        ["all", "4.00", "100", "%"],
    ]

"""Observers can neither slow a run nor break it, whatever they do."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Lab, without_times

from bench.execution import observers as module
from bench.execution.observers import Observers
from bench.registry.registry import Registry

Observing = Callable[[str, str], Any]


def notify_cells(observers: Observers, count: int) -> None:
    for number in range(count):
        observers.notify("bench_cell_end", record={"number": number}, run=None)


def test_one_that_raises_is_logged_once_a_hook_and_the_others_are_called(
    observing: Observing, lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    observing("abreaks", """
        @hookimpl
        def bench_epoch_end(epoch):
            1 / 0

        @hookimpl
        def bench_cell_end(record):
            raise SystemExit(3)
    """)  # fmt: skip
    fine = observing("bworks", "@hookimpl\ndef bench_epoch_end(epoch):\n    seen.append(epoch)\n")
    lab = Lab(lab.folder, Registry.load())
    with caplog.at_level(logging.WARNING, "bench"):
        (record,) = lab.run(lab.plan(method="simclr"))

    assert record["status"] == "ok"
    assert fine.seen == [1, 2]
    assert caplog.text.count("abreaks:point: bench_epoch_end raised ZeroDivisionError") == 1
    assert caplog.text.count("abreaks:point: bench_cell_end raised SystemExit: 3") == 1


def test_a_slow_one_delays_neither_the_run_nor_another(observing: Observing) -> None:
    slow = observing("aslow", """
        release = threading.Event()

        @hookimpl
        def bench_cell_end(record):
            release.wait(30)
            seen.append(record["number"])
    """)  # fmt: skip
    fast = observing("bfast", "@hookimpl\ndef bench_cell_end(record):\n    seen.append(record['number'])\n")
    observers = Observers(Registry.load())
    notify_cells(observers, 5)
    seen_meanwhile = list(slow.seen)
    end = time.monotonic() + 30
    while len(fast.seen) < 5 and time.monotonic() < end:
        time.sleep(0.01)
    fast_meanwhile = list(fast.seen)
    slow.release.set()
    observers.drain()

    assert seen_meanwhile == []
    assert fast_meanwhile == slow.seen == [0, 1, 2, 3, 4]


def test_one_that_hangs_is_waited_for_once_and_no_longer_than_is_said(
    observing: Observing, caplog: pytest.LogCaptureFixture
) -> None:
    stuck = observing("stuck", """
        release = threading.Event()

        @hookimpl
        def bench_cell_end(record):
            release.wait(30)
            seen.append(record["number"])
    """)  # fmt: skip
    observers = Observers(Registry.load())
    notify_cells(observers, 3)
    observers.drain(patience=0.1)
    observers.drain(patience=1e6)
    stuck.release.set()

    assert "stuck:point: its observers were not done 0.1 s after the run; about 3 events" in caplog.text


def test_steps_are_dropped_before_anything_else_and_their_number_is_said(
    observing: Observing, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plugin = observing("overrun", """
        release = threading.Event()

        @hookimpl
        def bench_step_interval():
            return 1

        @hookimpl
        def bench_step_end(step):
            release.wait(30)
            seen.append(step)

        @hookimpl
        def bench_cell_end(record):
            seen.append(record["number"])
    """)  # fmt: skip
    monkeypatch.setattr(module, "STEPS_WAITING", 5)
    monkeypatch.setattr(module, "WAITING", 8)
    observers = Observers(Registry.load())
    observers.notify_step(1, {}, run=None)
    end = time.monotonic() + 30
    while observers.waiting and time.monotonic() < end:  # until the thread has taken the first
        time.sleep(0.01)
    for step in range(2, 11):
        observers.notify_step(step, {}, run=None)
    notify_cells(observers, 5)
    plugin.release.set()
    observers.drain()

    assert plugin.seen == [1, 2, 3, 4, 5, 6, 0, 1, 2]
    assert "overrun:point: its observers were too slow for the run: 4 steps and 2 other events" in caplog.text


def test_where_nobody_observes_there_is_no_thread(lab: Lab) -> None:
    before = threading.active_count()
    lab.run(lab.plan(method="simclr"))

    assert threading.active_count() == before


def test_observers_change_no_number(observing: Observing, lab: Lab) -> None:
    plain = lab.run(lab.plan(method="simclr"))
    observing("everystep", """
        @hookimpl
        def bench_step_interval():
            return 1

        @hookimpl
        def bench_step_end(run, step, metrics):
            seen.append(step)
    """)  # fmt: skip
    watched = Lab(lab.folder.parent / "watched", Registry.load())
    records = watched.run(watched.plan(method="simclr"))

    assert [without_times(record) for record in records] == [without_times(record) for record in plain]

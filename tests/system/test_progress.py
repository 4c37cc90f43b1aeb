"""Progress is lines in a file and a bar on a terminal."""

from __future__ import annotations

import fcntl
import io
import os
import select
import struct
import termios
from typing import IO

import pytest

from bench.system.progress import LINE_EVERY_S, LONG_EPOCH_S, Part, Progress, duration, fit_line


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_file_gets_whole_lines_and_always_one_for_the_last_epoch() -> None:
    out = io.StringIO()
    progress = Progress("simclr resnet18 digits seed 0", 3, 300, out=out)
    for epoch in (1, 2, 3):
        progress.step(epoch, 7, 100, {"contrastive": 2.0})
        progress.epoch_end(epoch, {"contrastive": 2.0})
    progress.close()
    lines = out.getvalue().splitlines()

    assert len(lines) == 1
    assert lines[0].startswith("simclr resnet18 digits seed 0  epoch 3/3  loss 2  ")
    assert lines[0].endswith("0 s left")
    assert "\r" not in out.getvalue()


def test_a_line_is_printed_when_the_last_one_is_long_ago() -> None:
    out = io.StringIO()
    progress = Progress("run", 100, 1000, out=out)
    progress.since = progress.last_line = progress.since - LINE_EVERY_S
    for epoch in (1, 2):
        progress.step(epoch, 1, 10, {"loss": 1.0})
        progress.epoch_end(epoch, {"loss": 1.0})

    assert len(out.getvalue().splitlines()) == 1
    assert "epoch 1/100" in out.getvalue()


def test_an_epoch_that_takes_long_gets_lines_of_its_own() -> None:
    out = io.StringIO()
    progress = Progress("run", 2, 1000, out=out)
    progress.since = progress.last_line = progress.since - LONG_EPOCH_S - 1
    for step in (1, 2):
        progress.step(1, step, 10, {"loss": 1.0})

    assert [line.split("  ")[1] for line in out.getvalue().splitlines()] == ["epoch 1/2 step 1"]


def test_the_rate_is_of_this_process_and_the_rest_of_the_whole_run() -> None:
    out = io.StringIO()
    progress = Progress("run", 10, images=1000, done=500, out=out)
    progress.since -= 100
    progress.step(10, 1, 100, {"loss": 1.0})
    progress.epoch_end(10, {"loss": 1.0})

    assert "  1 img/s  " in out.getvalue()
    assert "6 min 40 s left" in out.getvalue()


def test_terms_stand_beside_their_sum_when_there_are_several() -> None:
    out = io.StringIO()
    progress = Progress("run", 1, 1, out=out)
    progress.epoch_end(1, {"invariance": 1.5, "variance": 2.25})

    assert "loss 3.75  invariance 1.5  variance 2.25" in out.getvalue()


def test_processes_that_share_a_terminal_write_lines() -> None:
    out = Terminal()
    Progress("run", 1, 100, out=out, live=False).epoch_end(1, {"loss": 1.0})

    assert out.getvalue().startswith("run  epoch 1/1  loss 1  ")
    assert "\r" not in out.getvalue()


def test_a_terminal_gets_a_bar_that_is_taken_away() -> None:
    out = Terminal()
    progress = Progress("run", 2, 200, done=100, out=out)
    progress.step(2, 1, 100, {"loss": 1.0})
    progress.epoch_end(2, {"loss": 1.0})
    assert progress.bar is not None
    progress.bar.refresh()  # a bar is drawn ten times a second at most
    shown = out.getvalue()
    progress.close()

    assert "run  epoch 2/2  step 1  100 %  " in shown
    assert "img/s  loss 1  0 s left" in shown
    assert "\n" not in out.getvalue()
    assert out.getvalue().endswith("\r")


def read_until(terminal: IO[bytes], word: str) -> str:
    """Return what a terminal shows up to a word and what comes with it; it arrives in pieces."""
    shown = ""
    while word not in shown:
        ready, _, _ = select.select([terminal], [], [], 10)
        assert ready, shown
        shown += terminal.read(10_000).decode()
    return shown


@pytest.mark.parametrize("columns", [60, 80])
def test_a_narrow_terminal_gets_the_loss_and_the_time_left(columns: int) -> None:
    title = "vicreg vit_tiny_patch16_224 image_folder train.lr=0.1 seed 0"
    reader, writer = os.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with os.fdopen(writer, "w") as terminal, os.fdopen(reader, "rb", buffering=0) as seen:
        progress = Progress(title, 200, 100_000, done=50_000, out=terminal)
        progress.step(97, 12, 1000, {"invariance": 1.5, "variance": 2.25, "covariance": 0.25})
        assert progress.bar is not None
        progress.bar.refresh()
        line = read_until(seen, "loss").rpartition("\r")[2].rstrip()
        progress.close()

    assert len(line) <= columns
    assert line.startswith(title[:12])
    assert "epoch 97/200  loss 4  " in line
    assert line.endswith(" left")


def test_what_matters_least_leaves_a_line_first_and_then_the_title_is_cut() -> None:
    parts = [Part("epoch 3/9", 1), Part("50 %", 2), Part("loss 1"), Part("5 s left"), Part("term 2", 4)]
    whole = fit_line("a title of a run", parts)

    assert whole == "a title of a run  epoch 3/9  50 %  loss 1  5 s left  term 2"
    assert fit_line("a title of a run", parts, len(whole)) == whole
    assert fit_line("a title of a run", parts, len(whole) - 1) == whole.removesuffix("  term 2")
    assert fit_line("a title of a run", parts, 45) == "a title of a run  epoch 3/9  loss 1  5 s left"
    assert fit_line("a title of a run", parts, 42) == "a title of a…  epoch 3/9  loss 1  5 s left"
    assert fit_line("a title of a run", parts, 25) == "a titl…  loss 1  5 s left"
    assert fit_line("a title of a run", parts, 16) == "loss 1  5 s left"


@pytest.mark.parametrize(
    ("seconds", "message"),
    [
        (0, "0 s"),
        (0.4, "0 s"),
        (42, "42 s"),
        (59.6, "1 min 0 s"),
        (200, "3 min 20 s"),
        (3599.7, "1 h 0 min"),
        (7500, "2 h 5 min"),
        (90_000, "25 h 0 min"),
    ],
)
def test_a_duration_is_said_as_a_person_says_it(seconds: float, message: str) -> None:
    assert duration(seconds) == message

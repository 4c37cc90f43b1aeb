"""Show how far a training is: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import NoReturn, TextIO

from tqdm import tqdm

LINE_EVERY_S = 15.0
LONG_EPOCH_S = 60.0  # after so long without a line, one is printed within the epoch
BAR = "{desc}  {percentage:.0f} %  {rate_fmt}  {remaining} left{postfix}"  # of tqdm, without its bar


class Progress:
    """Progress of one pretraining, on standard error.

    Args:
        what: the title of the run, e.g. `simclr resnet18 digits seed 0`.
        epochs: of the whole run.
        images: of the whole run, counted each time one is seen.
        done: those that an earlier process saw.
        out: where to write.
        live: a bar may be drawn; several processes that share a terminal must not.
    """

    def __init__(
        self,
        what: str,
        epochs: int,
        images: int,
        done: int = 0,
        out: TextIO | None = None,
        *,
        live: bool = True,
    ) -> None:
        self.what, self.epochs, self.images, self.done = what, epochs, images, done
        self.out = out or sys.stderr
        self.bar: tqdm[NoReturn] | None = None
        self.since = self.last_line = time.monotonic()
        self.seen = 0
        if live and self.out.isatty():
            self.bar = tqdm(
                desc=what, total=images, initial=done, unit=" img", unit_scale=True, bar_format=BAR,
                file=self.out, dynamic_ncols=True, leave=False,
            )  # fmt: skip

    def step(self, epoch: int, step: int, images: int, terms: Mapping[str, float]) -> None:
        """Show a step.

        Args:
            epoch: counted from 1.
            step: within the epoch, counted from 1.
            images: that this step saw.
            terms: of the loss, as they were last read.
        """
        self.seen += images
        if self.bar is not None:
            title = f"{self.what}  epoch {epoch}/{self.epochs} step {step}"
            self.bar.set_description_str(title, refresh=False)
            self.bar.set_postfix_str(format_terms(terms), refresh=False)
            self.bar.update(images)
        elif time.monotonic() - self.last_line > LONG_EPOCH_S:
            self._print_line(f"{epoch}/{self.epochs} step {step}", terms)

    def epoch_end(self, epoch: int, terms: Mapping[str, float]) -> None:
        """Print a line every now and then where there is no bar, and always for the last epoch."""
        late = time.monotonic() - self.last_line >= LINE_EVERY_S
        if self.bar is None and (late or epoch == self.epochs):
            self._print_line(f"{epoch}/{self.epochs}", terms)

    def _print_line(self, position: str, terms: Mapping[str, float]) -> None:
        self.last_line = time.monotonic()
        rate = self.seen / max(1e-9, self.last_line - self.since)
        left = (self.images - self.done - self.seen) / max(1e-9, rate)
        status = f"{format_terms(terms)}  {rate:.0f} img/s  {duration(left)} left"
        print(f"{self.what}  epoch {position}  {status}", file=self.out, flush=True)

    def close(self) -> None:
        """Take the bar away."""
        if self.bar is not None:
            self.bar.close()


def duration(seconds: float) -> str:
    """Return a time in words: 42 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def format_terms(terms: Mapping[str, float]) -> str:
    """Return the loss, with its terms beside it where there are several."""
    total = sum(terms.values())
    parts = [f"{name} {value:.3g}" for name, value in terms.items()] if len(terms) > 1 else []
    return "  ".join([f"loss {total:.4g}", *parts])

"""Show how far a training is: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, NoReturn, TextIO

from tqdm import tqdm

LINE_EVERY_S = 15.0
LONG_EPOCH_S = 60.0  # after so long without a line, one is printed within the epoch
LEAST_TITLE = 12  # letters that stay of a title before anything that matters is left out


@dataclass(frozen=True)
class Part:
    """A part of a line of progress.

    Args:
        text: of it.
        leaves: parts with a higher number are left out earlier where the line is too long; 0 never is.
    """

    text: str
    leaves: int = 0


def fit_line(title: str, parts: Sequence[Part], width: int | None = None) -> str:
    """Return a title and parts in one line of at most `width` letters.

    What matters least is left out first, then the title is cut, and only then the rest is left out or cut.

    Args:
        title: of the line.
        parts: in their order; an empty one is none.
        width: in letters; none has room for all.
    """
    kept = [part for part in parts if part.text]
    if width is None:
        return _join(title, kept)
    while True:
        room = width - sum(len(part.text) + 2 for part in kept)
        least = max((part.leaves for part in kept), default=0)
        if room >= len(title) or least == 0 or (least == 1 and room >= LEAST_TITLE):
            break
        kept.remove(next(part for part in reversed(kept) if part.leaves == least))
    if room < len(title):
        title = title[: max(0, room - 1)] + "…" if room > 1 else ""
    return _join(title, kept)[:width]


def _join(title: str, parts: Sequence[Part]) -> str:
    gap = " " if title.endswith(":") else "  "
    return gap.join(filter(None, [title, "  ".join(part.text for part in parts)]))


if TYPE_CHECKING:
    Tqdm = tqdm[NoReturn]
else:
    Tqdm = tqdm


class Bar(Tqdm):
    """A line that is drawn again in place, and fits the terminal."""

    position = ""
    within = ""
    terms: Mapping[str, float] = MappingProxyType({})

    def __str__(self) -> str:
        """Return the line as it stands."""
        now = self.format_dict
        rate = now["rate"] or (now["n"] - now["initial"]) / max(1e-9, now["elapsed"])
        loss, *apart = format_terms(self.terms).split("  ") if self.terms else [""]
        left = duration((now["total"] - now["n"]) / rate) if rate else "?"
        return fit_line(
            self.desc.removesuffix(": "),
            [
                Part(self.position, 1),
                Part(self.within, 5),
                Part(f"{100 * now['n'] / max(1, now['total']):.0f} %", 2),
                Part(f"{rate:.0f} img/s", 3),
                Part(loss),
                Part(f"{left} left"),
                *(Part(term, 4) for term in apart),
            ],
            now["ncols"],
        )


# Its usual lock holds a semaphore of the system, of which a process is told that ends by a signal.
tqdm.set_lock(threading.RLock())


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
        self.bar: Bar | None = None
        self.since = self.last_line = time.monotonic()
        self.seen = 0
        if live and self.out.isatty():
            self.bar = Bar(
                desc=what, total=images, initial=done, file=self.out, dynamic_ncols=True, leave=False
            )

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
            self.bar.position, self.bar.within = f"epoch {epoch}/{self.epochs}", f"step {step}"
            self.bar.terms = terms
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

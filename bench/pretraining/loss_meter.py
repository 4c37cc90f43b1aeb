"""The loss of an epoch: its terms stay on the device and are read once a second, for a read makes it wait."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from bench.contracts.recipe import Training
from bench.errors import Diverged

READ_EVERY_S = 1.0  # our choice: often enough for a progress line


def advise_stability(training: Training) -> str:
    """Return what to set where a training diverges: which setting, and to what."""
    lower = f"Use --set train.lr={training.lr / 3:.1g} (it is {training.lr:g})"
    if training.precision == "float32":
        return f"{lower} or a longer train.warmup_epochs (it is {training.warmup_epochs:g})."
    return f"{lower} or --precision float32 (it is {training.precision})."


class LossMeter:
    """The terms of the loss over an epoch.

    Args:
        what: how an error names the run.
        advice: what to do where a term is not finite.
        first: number of steps before the epoch's first.
        names: of the terms of the steps that are done already, in an earlier process.
        rows: their terms, a row a step.
    """

    def __init__(
        self,
        what: str,
        advice: str,
        first: int,
        names: Sequence[str] = (),
        rows: Sequence[Sequence[float]] = (),
    ) -> None:
        self.what, self.advice, self.first, self.names = what, advice, first, list(names)
        self.unread: list[Tensor] = []
        self.read_rows = [torch.tensor(rows, dtype=torch.float64)] if rows else []
        self.latest: dict[str, float] = {}
        self.read_at = time.monotonic()

    def add(self, terms: Mapping[str, Tensor]) -> None:
        """Add the terms of one more step, each a scalar on any device."""
        self.names = list(terms)
        self.unread.append(torch.stack([term.float() for term in terms.values()]))
        if not self.latest or time.monotonic() - self.read_at > READ_EVERY_S:
            self._read()

    def list_rows(self) -> list[list[float]]:
        """Return the terms of each step so far.

        Raises:
            Diverged: a term is not finite.
        """
        self._read()
        return [row for rows in self.read_rows for row in rows.tolist()]

    def close(self) -> dict[str, float]:
        """Return each term's mean over the epoch.

        Raises:
            Diverged: a term of a step is not finite.
        """
        self._read()
        means = torch.cat(self.read_rows).mean(dim=0).tolist()
        return dict(zip(self.names, means, strict=True))

    def _read(self) -> None:
        if not self.unread:
            return
        rows = torch.stack(self.unread).cpu().double()
        start = self.first + sum(map(len, self.read_rows))
        broken = (~torch.isfinite(rows)).any(dim=1).nonzero()
        if len(broken):
            at = int(broken[0])
            values = zip(self.names, rows[at].tolist(), strict=True)
            terms = ", ".join(f"{name} {value:.3g}" for name, value in values)
            raise Diverged(
                f"{self.what}: the loss became {float(rows[at].sum())} at step {start + at + 1} "
                f"({terms}). {self.advice}"
            )
        self.latest = dict(zip(self.names, rows[-1].tolist(), strict=True))
        self.read_rows.append(rows)
        self.unread, self.read_at = [], time.monotonic()

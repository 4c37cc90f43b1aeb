"""The loss of an epoch: its terms stay on the device and are read once a second, for a read makes it wait."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from bench.errors import Diverged

READ_EVERY_S = 1.0  # our choice: often enough for a progress line


class LossMeter:
    """The terms of the loss over an epoch.

    Args:
        what: how an error names the run.
        first: number of steps before the epoch's first.
        names: of the terms of the steps that are done already, in an earlier process.
        rows: their terms, a row a step.
    """

    def __init__(
        self, what: str, first: int, names: Sequence[str] = (), rows: Sequence[Sequence[float]] = ()
    ) -> None:
        self.what, self.first, self.names = what, first, list(names)
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
                f"({terms}). Lower train.lr or use --precision float32."
            )
        self.latest = dict(zip(self.names, rows[-1].tolist(), strict=True))
        self.read_rows.append(rows)
        self.unread, self.read_at = [], time.monotonic()

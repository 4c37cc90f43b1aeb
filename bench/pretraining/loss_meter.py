"""What the loss was, read from the device late and seldom."""

from __future__ import annotations

import time
from collections.abc import Mapping

import torch
from torch import Tensor

from bench.errors import Diverged

READ_EVERY_S = 1.0  # between looks at the loss: a look makes the device wait


class LossMeter:
    """The terms of an epoch, read from the device late and seldom.

    Args:
        what: how an error names the run.
        first: the number of the epoch's first step in the run.
    """

    def __init__(self, what: str, first: int) -> None:
        self.what, self.first = what, first
        self.names: list[str] = []
        self.waiting: list[Tensor] = []
        self.rows: list[Tensor] = []
        self.latest: dict[str, float] = {}
        self.read_at = time.monotonic()

    def add(self, terms: Mapping[str, Tensor]) -> None:
        """Take the terms of one more step."""
        self.names = list(terms)
        self.waiting.append(torch.stack([term.float() for term in terms.values()]))
        if not self.latest or time.monotonic() - self.read_at > READ_EVERY_S:
            self._read()

    def close(self) -> dict[str, float]:
        """Return each term's mean over the epoch."""
        self._read()
        means = torch.cat(self.rows).mean(dim=0).tolist()
        return dict(zip(self.names, means, strict=True))

    def _read(self) -> None:
        if not self.waiting:
            return
        rows = torch.stack(self.waiting).double().cpu()
        start = self.first + sum(map(len, self.rows))
        broken = (~torch.isfinite(rows)).any(dim=1).nonzero()
        if len(broken):
            at = int(broken[0])
            values = zip(self.names, rows[at].tolist(), strict=True)
            said = ", ".join(f"{name} {value:.3g}" for name, value in values)
            raise Diverged(
                f"{self.what}: the loss became {float(rows[at].sum())} at step {start + at + 1} "
                f"({said}). Lower train.lr or use --precision float32."
            )
        self.latest = dict(zip(self.names, rows[-1].tolist(), strict=True))
        self.rows.append(rows)
        self.waiting, self.read_at = [], time.monotonic()

"""Several splits as one: a method that uses labels is trained on those of train and val.

Nothing is copied: either split may be in a file that is larger than memory.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.contracts.dataset import FileStream, Images
from bench.errors import BadData


class JoinedPixels:
    """Pixels of several splits, one after the other, as a tensor (n, channels, h, w) of which rows are taken.

    Args:
        parts: (n_i, channels, h, w) each, uint8, on one device.
    """

    dtype, ndim = torch.uint8, 4

    def __init__(self, parts: Sequence[Tensor]) -> None:
        self.parts, self.device = parts, parts[0].device
        self.shape = torch.Size((sum(map(len, parts)), *parts[0].shape[1:]))
        self.nbytes = sum(part.nbytes for part in parts)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Tensor) -> Tensor:
        """Return the images at the places in a tensor (m,) int64."""
        taken = torch.empty(len(rows), *self.shape[1:], dtype=self.dtype, device=self.device)
        start = 0
        for part in self.parts:
            own = ((rows >= start) & (rows < start + len(part))).nonzero()[:, 0]
            taken[own] = part[rows[own] - start]
            start += len(part)
        return taken

    def to(self, device: torch.device) -> Any:
        """Return the images on `device`; where they are there already, nothing is copied."""
        return self if self.device == device else torch.cat([part.to(device) for part in self.parts])


class JoinedFiles(Sequence[Path]):
    """Files of several splits, one after the other."""

    def __init__(self, parts: Sequence[Sequence[Path]]) -> None:
        self.parts, self.ends = parts, list(accumulate(map(len, parts)))

    def __len__(self) -> int:
        return self.ends[-1]

    def __getitem__(self, index: Any) -> Any:
        """Return the file at a place, an int of at least 0."""
        part = bisect_right(self.ends, index)
        return self.parts[part][index - (self.ends[part] - len(self.parts[part]))]


def join_images(parts: Sequence[Images]) -> Images:
    """Return the images of several splits as one, in their order."""
    if len(parts) == 1:
        return parts[0]
    pixels: Any = JoinedPixels([part.pixels for part in parts])
    return Images(pixels, torch.cat([part.labels for part in parts]))


def join_streams(parts: Sequence[FileStream]) -> FileStream:
    """Return the files of several splits of one dataset as one, in their order."""
    files = JoinedFiles([part.files for part in parts])

    def refusal(index: int, why: str) -> BadData:
        part = bisect_right(files.ends, index)
        return parts[part].refusal(index - (files.ends[part] - len(parts[part])), why)

    if len(parts) == 1:
        return parts[0]
    labels = torch.cat([part.labels for part in parts])
    stamps = [part.stamps for part in parts if part.stamps is not None]
    watched = torch.cat(stamps) if len(stamps) == len(parts) else None
    return replace(parts[0], files=files, labels=labels, refusal=refusal, stamps=watched)

"""What is remembered of earlier batches: a queue of embeddings, and a bank with a row for each image.

State is in buffers alone, so a checkpoint has it, and nothing waits for a device. Updates are made in place,
in a method's `after_batch`: before that, the gradient still needs the rows as the loss saw them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.errors import BadValue

INITS = ("random", "empty")


class FeatureQueue(nn.Module):
    """The last `size` embeddings, of which the oldest make room for the newest.

    A batch need not divide the size, and may be larger: then its last rows stay. facebookresearch/moco
    demands that it does, and lightly drops what is left over at the end.

    Args:
        size: rows.
        dim: of an embedding.
        init: random, with unit rows drawn from torch's global state (MoCo: the first size / batch steps
            contrast with noise), or empty, with zeros that `valid` marks.
        normalise: whether rows are made unit length as they come.
        labels: whether an int64 comes with each row, such as its image's index or class.

    Attributes:
        rows: (size, dim), in order of their place, not of age. No gradient.
        labels: (size,), int64, -1 where nothing has come; or None.
        place: (), int64, of the next row that is replaced.
        filled: (), int64, rows that hold something.

    Raises:
        BadValue: size or dim is not positive, or there is no such `init`.

    Source: He 2020 (MoCo), arXiv:1911.05722, algorithm 1; facebookresearch/moco moco/builder.py. The
    random rows have unit length there, as the queue is transposed; giakoumoglou/synco normalises the
    same way a queue that is not, and gets unit columns.
    """

    rows: Tensor
    labels: Tensor | None
    place: Tensor
    filled: Tensor

    def __init__(
        self, size: int, dim: int, *, init: str = "random", normalise: bool = True, labels: bool = False
    ) -> None:
        super().__init__()
        _check_size("queue", size=size, dim=dim)
        if init not in INITS:
            raise BadValue(f"queue: no init is named {init!r}. Known: {', '.join(INITS)}.")
        random = init == "random"
        rows = F.normalize(torch.randn(size, dim), dim=1) if random else torch.zeros(size, dim)
        self.normalise = normalise
        self.register_buffer("rows", rows)
        self.register_buffer("labels", torch.full((size,), -1) if labels else None)
        self.register_buffer("place", torch.tensor(0))
        self.register_buffer("filled", torch.tensor(size if random else 0))

    @property
    def valid(self) -> Tensor:
        """Which rows hold something: (size,), bool."""
        return torch.arange(len(self.rows), device=self.rows.device) < self.filled

    @torch.no_grad()
    def enqueue(self, rows: Tensor, labels: Tensor | None = None) -> None:
        """Replace the oldest rows, in order; in `after_batch`, or a row is its own negative.

        Args:
            rows: (n, dim), of any dtype; their gradient is left behind.
            labels: (n,), int64, if the queue has labels, and only then.

        Raises:
            ValueError: the shapes do not fit, or labels are missing or not asked for.
        """
        size, dim = self.rows.shape
        n = len(rows)
        if rows.ndim != 2 or rows.shape[1] != dim:
            raise ValueError(
                f"queue: rows are {tuple(rows.shape)}, but its own have {dim} numbers. Give (n, {dim})."
            )
        self._check_labels(labels, n)
        last = slice(max(n - size, 0), n)
        places = (self.place + torch.arange(last.start, n, device=self.rows.device)) % size
        new = rows[last].detach().to(self.rows)
        self.rows.index_copy_(0, places, F.normalize(new, dim=1) if self.normalise else new)
        if labels is not None and self.labels is not None:
            self.labels.index_copy_(0, places, labels[last].to(self.labels))
        self.place.add_(n).remainder_(size)
        self.filled.add_(n).clamp_(max=size)

    def _check_labels(self, labels: Tensor | None, n: int) -> None:
        """Raise a ValueError unless there is a label a row, or none where the queue has none."""
        if labels is None and self.labels is not None:
            raise ValueError(f"queue: {n} rows came without labels, which it has. Give (n,) labels.")
        if labels is not None and self.labels is None:
            raise ValueError("queue: labels came, but it keeps none. Make it with labels=True.")
        if labels is not None and labels.shape != (n,):
            raise ValueError(f"queue: labels are {tuple(labels.shape)} for {n} rows. Give a label a row.")

    def extra_repr(self) -> str:
        """Return its shape."""
        return f"size={len(self.rows)}, dim={self.rows.shape[1]}"


class MemoryBank(nn.Module):
    """An embedding of each image, of the last time that it was seen: row i is that of image i.

    Rows start uniform in +-1 / sqrt(dim / 3), so of length 1 on average, from torch's global state.

    Args:
        images: of the training set.
        dim: of an embedding.

    Attributes:
        rows: (images, dim). No gradient.

    Raises:
        BadValue: images or dim is not positive.

    Source: Wu 2018 (NPID), arXiv:1805.01978, 3.2; zhirongw/lemniscate.pytorch lib/LinearAverage.py.
    """

    rows: Tensor

    def __init__(self, images: int, dim: int) -> None:
        super().__init__()
        _check_size("memory bank", images=images, dim=dim)
        bound = (dim / 3) ** -0.5
        self.register_buffer("rows", torch.rand(images, dim) * (2 * bound) - bound)

    @torch.no_grad()
    def update(self, index: Tensor, rows: Tensor, momentum: float) -> None:
        """Move rows of the bank: M_i <- n(m M_i + (1 - m) n(f)), n being division by the length.

        Args:
            index: (n,), int64, the images, each at most once.
            rows: (n, dim), f.
            momentum: m, in [0, 1]; 0.5 in the authors' code.

        Raises:
            ValueError: momentum is not in [0, 1], or the shapes do not fit.
        """
        if not 0 <= momentum <= 1:
            raise ValueError(f"memory bank: momentum is {momentum}. Give a number in [0, 1].")
        if rows.shape != (len(index), self.rows.shape[1]):
            raise ValueError(
                f"memory bank: rows are {tuple(rows.shape)} for {len(index)} images. "
                f"Give ({len(index)}, {self.rows.shape[1]})."
            )
        new = F.normalize(rows.detach().to(self.rows), dim=1)
        mixed = momentum * self.rows[index] + (1 - momentum) * new
        self.rows.index_copy_(0, index, F.normalize(mixed, dim=1))

    def extra_repr(self) -> str:
        """Return its shape."""
        return f"images={len(self.rows)}, dim={self.rows.shape[1]}"


def _check_size(where: str, **sizes: int) -> None:
    """Raise a BadValue unless all sizes are at least 1."""
    for name, size in sizes.items():
        if size < 1:
            raise BadValue(f"{where}: {name} is {size}, but nothing fits in. Set it to at least 1.")

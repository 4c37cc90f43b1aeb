"""Processes that compute one thing together, a device each, and what they tell each other.

They are numbered; the first, rank 0, is the one that writes. Each has its share of the rows of a batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import Store

from bench.system.board import Board

BUCKET_BYTES = 64 << 20  # of what is summed at once, our choice: few messages, and little memory for copies
CPU = torch.device("cpu")
CUT_OFF = ("gloo", "closed by peer", "reset by peer", "Broken pipe")  # in what torch raises
PATIENCE = timedelta(days=7)  # a rank may wait while the first one classifies, writes, or loads images


@dataclass(frozen=True)
class Ranks:
    """The processes of which this one is the `rank`-th of `size`; all of them call each method alike.

    Args:
        rank: counted from 0.
        size: how many there are; one needs no other, and every method then returns what it is given.
        device: where this process computes.
        board: where they leave what others find when they come to it.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = CPU
    board: Board | None = None

    def shares(self, rows: slice) -> list[slice]:
        """Return each rank's part of some rows: they follow each other and are alike but for one row."""
        count = rows.stop - rows.start
        ends = [rows.start + -(-count * rank // self.size) for rank in range(self.size + 1)]
        return [slice(start, end) for start, end in pairwise(ends)]

    def share(self, rows: slice) -> slice:
        """Return this rank's part of some rows."""
        return self.shares(rows)[self.rank]

    def join_rows(self, own: Tensor, counts: Sequence[int]) -> Tensor:
        """Return the rows of all ranks, one rank's after the other's.

        Args:
            own: (counts[rank], ...).
            counts: rows of each rank.
        """
        if self.size == 1:
            return own
        most = max(counts)
        padded = own.new_zeros((most, *own.shape[1:]))
        padded[: len(own)] = own
        parts = self.stack(padded)
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    def stack(self, own: Tensor) -> Tensor:
        """Return a tensor of each rank, all of one shape (...), as (size, ...)."""
        if self.size == 1:
            return own.unsqueeze(0)
        parts = [torch.empty_like(own, memory_format=torch.contiguous_format) for _ in range(self.size)]
        dist.all_gather(parts, own.contiguous())
        return torch.stack(parts)

    def add_up(self, tensors: Iterable[Tensor]) -> None:
        """Add to each tensor those of the other ranks, in place; the sums are alike on all to the bit."""
        if self.size == 1:
            return
        for bucket in _split_into_buckets(tensors):
            flat = torch.cat([x.reshape(-1) for x in bucket])
            dist.all_reduce(flat)
            for x, part in zip(bucket, flat.split([x.numel() for x in bucket]), strict=True):
                x.copy_(part.view(x.shape))

    def spread(self, tensors: Iterable[Tensor]) -> None:
        """Give all ranks the tensors of the first, in place."""
        if self.size == 1:
            return
        for bucket in _split_into_buckets(tensors):
            flat = torch.cat([x.reshape(-1) for x in bucket])
            dist.broadcast(flat, 0)
            for x, part in zip(bucket, flat.split([x.numel() for x in bucket]), strict=True):
                x.copy_(part.view(x.shape))

    def tell(self, value: Any = None) -> Any:
        """Return what the first rank calls this with: any value that can be pickled, without a device."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, 0, device=torch.device("cpu"))
        return box[0]

    def send(self, x: Tensor) -> dist.Work:
        """Begin to send a tensor, on the CPU, to the first rank; `wait` of what is returned ends it."""
        work = dist.isend(x.contiguous(), 0)
        assert work is not None  # noqa: S101 - this rank is not the first
        return work

    def receive(self, shape: Sequence[int], rank: int) -> Tensor:
        """Return the float32 tensor of a shape that another rank sends to the first."""
        x = torch.empty(tuple(shape))
        dist.recv(x, rank)
        return x

    def find_difference(self, tensors: Mapping[str, Tensor]) -> str:
        """Return the name of a tensor that is not alike on all ranks to the bit, or nothing."""
        if self.size == 1:
            return ""
        prints = self.stack(torch.tensor([list(_digest(x)) for x in tensors.values()], dtype=torch.uint8))
        alike = (prints == prints[0]).flatten(2).all(dim=2).all(dim=0) if tensors else prints.new_ones(0)
        return next((name for name, same in zip(tensors, alike.tolist(), strict=True) if not same), "")


ALONE = Ranks()


def _digest(x: Tensor) -> bytes:
    """Return what a tensor's numbers are told apart by."""
    numbers = x.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return hashlib.blake2b(numbers.data, digest_size=16).digest()


def _split_into_buckets(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Yield tensors of one type together, in their order, as many as fit into a bucket."""
    kinds: dict[torch.dtype, list[Tensor]] = {}
    for x in tensors:
        kinds.setdefault(x.dtype, []).append(x)
    for alike in kinds.values():
        bucket: list[Tensor] = []
        held = 0
        for x in alike:
            size = x.numel() * x.element_size()
            if bucket and held + size > BUCKET_BYTES:
                yield bucket
                bucket, held = [], 0
            bucket.append(x)
            held += size
        yield bucket


def join_ranks(store: Store, rank: int, size: int, device: torch.device) -> Ranks:
    """Meet the other ranks, and return them; this process may be of one group at a time.

    Tensors of a CPU go by gloo, those of an NVIDIA GPU by NCCL.

    Args:
        store: where they meet.
        rank: of this process.
        size: how many there are.
        device: where this process computes; of a type cuda it is numbered.
    """
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=PATIENCE)
    return Ranks(rank, size, device, Board(store))


def is_cut_off(error: BaseException) -> bool:
    """Tell whether an error says that another rank is gone, and not what this one did."""
    return isinstance(error, dist.DistError) or any(phrase in str(error) for phrase in CUT_OFF)


def leave_ranks(*, broken: bool = False) -> None:
    """Leave the group that this process is in, if it is in one.

    Args:
        broken: a rank is gone: what a GPU still waits for is given up.
    """
    if not dist.is_initialized():
        return
    if broken and torch.cuda.is_initialized():
        dist.distributed_c10d._abort_process_group()  # noqa: SLF001 - else the next look at the GPU waits
    else:
        dist.destroy_process_group()

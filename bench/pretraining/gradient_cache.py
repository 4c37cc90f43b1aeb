"""The gradient of a batch that is embedded in chunks: exactly that of the whole, in a chunk's memory.

    1. embed every chunk without gradient, and put the embeddings z of the batch together
    2. the loss of the whole batch, and back to the embeddings: u = dL/dz
    3. embed each chunk again, with gradient, and go back from its rows of z with its rows of u

Source: Gao 2021 (GradCache), arXiv:2101.06983, section 3.2; luyug/GradCache grad_cache.py.
Differs from the authors' code: random states are set from where a chunk stands and not kept; batch
norm's running statistics move once a step, there twice a chunk.
"""

# ruff: noqa: SLF001  torch._foreach_* is how torch's own optimisers step hundreds of small tensors

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from bench.contracts.method import Embeddings
from bench.system.ranks import ALONE, Ranks

Terms = dict[str, Tensor]


def even_chunks(images: int, chunk_size: int | None) -> list[slice]:
    """Return the rows of each chunk: as few as hold at most `chunk_size`, alike but for one image."""
    count = 1 if chunk_size is None else math.ceil(images / chunk_size)
    ends = [-(-images * number // count) for number in range(count + 1)]
    return [slice(start, end) for start, end in pairwise(ends)]


def own_rows(images: int, chunk_size: int | None, ranks: Ranks) -> list[slice]:
    """Return the rows of each chunk of a batch that a rank embeds."""
    return [ranks.share(chunk) for chunk in even_chunks(images, chunk_size)]


def cached_gradient(
    method: nn.Module,
    chunks: Sequence[slice],
    embed: Callable[[slice], Embeddings],
    backward: Callable[[Embeddings], Terms],
    after: Callable[[Embeddings], None],
    ranks: Ranks = ALONE,
) -> tuple[Embeddings, Terms]:
    """Add the gradient of a batch to that of the parameters; what other ranks embed they add to their own.

    Args:
        method: its buffers are as they are before the step, and are changed as if the batch were whole.
        chunks: the rows of each, in order; together the batch.
        embed: returns the embeddings of a chunk, or of this rank's share of it, alike whenever it is called.
        backward: takes the embeddings of the batch, goes back from the loss, and returns the terms.
        after: takes them when that is done, and lets the method update what it keeps.
        ranks: that embed the batch together.

    Returns:
        The embeddings of the batch without their graph, and what `backward` returned.
    """
    buffers = Buffers(method)
    whole = {name: z.requires_grad_() for name, z in embed_all(chunks, embed, buffers, ranks).items()}
    terms = backward(whole)
    after(whole)
    buffers.note_batch()
    for chunk in chunks:
        buffers.restore()
        _backward_from(embed(chunk), _rows_of(whole, ranks.share(chunk)))
        buffers.note_chunk((chunk.stop - chunk.start) / chunks[-1].stop)
    buffers.finish()
    return {name: z.detach() for name, z in whole.items()}, terms


def shared_gradient(
    batch: slice,
    embed: Callable[[slice], Embeddings],
    backward: Callable[[Embeddings], Terms],
    after: Callable[[Embeddings], None],
    ranks: Ranks,
) -> tuple[Embeddings, Terms]:
    """Do what `cached_gradient` does for a batch of one chunk, which each rank embeds its share of once.

    Args:
        batch: all its rows.
        embed: as of `cached_gradient`.
        backward: as of `cached_gradient`.
        after: as of `cached_gradient`.
        ranks: as of `cached_gradient`.
    """
    own = embed(batch)
    whole = {name: z.requires_grad_(own[name].requires_grad) for name, z in _join(own, batch, ranks).items()}
    terms = backward(whole)
    _backward_from(own, _rows_of(whole, ranks.share(batch)))
    after(whole)
    return {name: z.detach() for name, z in whole.items()}, terms


@torch.no_grad()
def embed_all(
    chunks: Sequence[slice], embed: Callable[[slice], Embeddings], buffers: Buffers, ranks: Ranks = ALONE
) -> Embeddings:
    """Return the embeddings of a batch, without a graph, and leave the buffers as they were.

    Args:
        chunks: as of `cached_gradient`.
        embed: as of `cached_gradient`.
        buffers: of the method.
        ranks: as of `cached_gradient`.
    """
    parts = []
    for chunk in chunks:
        parts.append(_join(embed(chunk), chunk, ranks))
        buffers.restore()
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _join(own: Embeddings, chunk: slice, ranks: Ranks) -> Embeddings:
    """Return the embeddings of a chunk, of which each rank has its share, without their graph."""
    counts = [part.stop - part.start for part in ranks.shares(chunk)]
    _check_rows(own, counts[ranks.rank])
    return {name: ranks.join_rows(z.detach(), counts) for name, z in own.items()}


def _rows_of(whole: Embeddings, rows: slice) -> Embeddings:
    """Return the gradients of some rows."""
    return {name: z.grad[rows] for name, z in whole.items() if z.grad is not None}


@contextlib.contextmanager
def counted_once(params: Iterable[Tensor], ranks: Ranks) -> Iterator[None]:
    """Have what the block adds to gradients count on the first rank alone, where all ranks add the same.

    On the others it adds zeros: so ranks have gradients of the same parameters.
    """
    if ranks.rank == 0:
        yield
        return
    before = [(param, param.grad) for param in params]
    for param, _ in before:
        param.grad = None
    yield
    for param, gradient in before:
        added = None if param.grad is None else torch.zeros_like(param.grad)
        param.grad = added if gradient is None else gradient


def _check_rows(embeddings: Embeddings, images: int) -> None:
    """Raise a ValueError where rows are not one an image: joined, they would be in another order."""
    for name, z in embeddings.items():
        if len(z) != images:
            raise ValueError(
                f"embed(): {name} has {len(z)} rows for {images} images. Return a row an image, "
                "or leave train.chunk_size and --devices out."
            )


def _backward_from(embeddings: Embeddings, gradients: Embeddings) -> None:
    """Go back from the embeddings of a chunk that have a graph; a momentum network's have none."""
    pairs = [(z, gradients[name]) for name, z in embeddings.items() if z.requires_grad and name in gradients]
    torch.autograd.backward([z for z, _ in pairs], [gradient for _, gradient in pairs])


class Buffers:
    """The buffers of a method over a step in chunks: every chunk finds them as the step did.

    Two things change them. What embedding a chunk changes, such as batch norm's running statistics, moves
    once a step, by the mean of what each image's chunk would move it; a count moves as for one chunk.
    What is changed with the whole batch in view, such as a queue or a centre, is changed once, and stays so.

    Args:
        method: its buffers are as they are before the step.
    """

    def __init__(self, method: nn.Module) -> None:
        buffers = list(method.buffers())
        self.averaged = [b for b in buffers if b.is_floating_point()]
        self.counted = [b for b in buffers if not b.is_floating_point()]
        self.before = _clones(self.averaged + self.counted)
        self.after_batch = self.before
        self.moves = [torch.zeros_like(b) for b in self.averaged]

    def restore(self) -> None:
        """Give the method its buffers of before the step."""
        if self.before:
            torch._foreach_copy_(self.averaged + self.counted, self.before)

    def note_batch(self) -> None:
        """Note what the method has made of the buffers with the whole batch in view."""
        self.after_batch = _clones(self.averaged + self.counted)

    def note_chunk(self, share: float) -> None:
        """Note how a chunk of that share of the batch has moved the buffers since `restore`."""
        if self.averaged:
            moves = torch._foreach_sub(self.averaged, self.before[: len(self.averaged)])
            torch._foreach_add_(self.moves, moves, alpha=share)

    def finish(self) -> None:
        """Give the method its buffers of after the step; `counted` is still that of the last chunk."""
        count = len(self.averaged)
        if self.averaged:
            torch._foreach_copy_(self.averaged, self.after_batch[:count])
            torch._foreach_add_(self.averaged, self.moves)
        for buffer, before, after in zip(
            self.counted, self.before[count:], self.after_batch[count:], strict=True
        ):
            buffer.copy_(torch.where(buffer == before, after, buffer))


def _clones(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [tensor.clone() for tensor in tensors]

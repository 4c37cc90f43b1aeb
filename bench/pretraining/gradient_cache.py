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

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from bench.contracts.method import Embeddings

Terms = dict[str, Tensor]


def even_chunks(images: int, chunk_size: int | None) -> list[slice]:
    """Return the rows of each chunk: as few as hold at most `chunk_size`, alike but for one image."""
    count = 1 if chunk_size is None else math.ceil(images / chunk_size)
    ends = [-(-images * number // count) for number in range(count + 1)]
    return [slice(start, end) for start, end in pairwise(ends)]


def cached_gradient(
    method: nn.Module,
    chunks: Sequence[slice],
    embed: Callable[[slice], Embeddings],
    backward: Callable[[Embeddings], Terms],
) -> tuple[Embeddings, Terms]:
    """Add the gradient of a batch to that of the parameters.

    Args:
        method: whose buffers `embed` moves.
        chunks: the rows of each, in order; together the batch.
        embed: returns the embeddings of a chunk, alike whenever it is called.
        backward: takes the embeddings of the batch, goes back from the loss and returns its terms.

    Returns:
        The embeddings of the batch without their graph, and what `backward` returned.
    """
    buffers = Buffers(method)
    whole = {name: z.requires_grad_() for name, z in _embed_chunks(chunks, embed, buffers).items()}
    terms = backward(whole)
    for chunk in chunks:
        buffers.restore()
        _backward_from(embed(chunk), {name: z.grad[chunk] for name, z in whole.items() if z.grad is not None})
        buffers.take((chunk.stop - chunk.start) / chunks[-1].stop)
    buffers.move()
    return {name: z.detach() for name, z in whole.items()}, terms


@torch.no_grad()
def _embed_chunks(
    chunks: Sequence[slice], embed: Callable[[slice], Embeddings], buffers: Buffers
) -> Embeddings:
    """Return the embeddings of all chunks."""
    parts = []
    for chunk in chunks:
        buffers.restore()
        parts.append(embed(chunk))
        _check_rows(parts[-1], chunk.stop - chunk.start)
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _check_rows(embeddings: Embeddings, images: int) -> None:
    """Raise a ValueError where rows are not one an image: joined, they would be in another order."""
    for name, z in embeddings.items():
        if len(z) != images:
            raise ValueError(
                f"embed(): {name} has {len(z)} rows for {images} images. Return a row an image, "
                "or leave train.chunk_size out."
            )


def _backward_from(embeddings: Embeddings, gradients: Embeddings) -> None:
    """Go back from the embeddings of a chunk that have a graph; a momentum network's have none."""
    pairs = [(z, gradients[name]) for name, z in embeddings.items() if z.requires_grad and name in gradients]
    torch.autograd.backward([z for z, _ in pairs], [gradient for _, gradient in pairs])


class Buffers:
    """A network's buffers, which every chunk finds as the step did.

    What is averaged, such as batch norm's running statistics, then moves once a step, by the mean of
    what each image's chunk would move it; a count moves as for one chunk.

    Args:
        network: its buffers are as they are before the step.
    """

    def __init__(self, network: nn.Module) -> None:
        buffers = list(network.buffers())
        self.averaged = [b for b in buffers if b.is_floating_point()]
        self.now = self.averaged + [b for b in buffers if not b.is_floating_point()]
        self.before = [b.clone() for b in self.now]
        self.moves = [torch.zeros_like(b) for b in self.averaged]

    def restore(self) -> None:
        """Give the network its buffers of before the step."""
        if self.now:
            torch._foreach_copy_(self.now, self.before)

    def take(self, share: float) -> None:
        """Note how the buffers have moved since `restore`, in a chunk of that share of the batch."""
        if self.averaged:
            moved = torch._foreach_sub(self.averaged, self.before[: len(self.averaged)])
            torch._foreach_add_(self.moves, moved, alpha=share)

    def move(self) -> None:
        """Give the network its buffers of after the step."""
        if self.averaged:
            torch._foreach_copy_(self.averaged, self.before[: len(self.averaged)])
            torch._foreach_add_(self.averaged, self.moves)

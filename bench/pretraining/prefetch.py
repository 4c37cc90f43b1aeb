"""Make the next batch's views while this batch trains, on a second stream of a CUDA device.

A GPU works off streams. The training goes into one, the views of the batch after it into another before
that: so they are made in what the training leaves free. A CPU has no second stream, and nothing is made
ahead there. What is made, and from which draws, is the same either way.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from bench.contracts.method import Batch
from bench.system.ranks import ALONE, Ranks

Make = Callable[[], list[Tensor]]


@dataclass(frozen=True)
class ReadyBatch:
    """A batch that is to be trained on.

    Args:
        number: of the batch in its epoch.
        batch: what the method gets beside its views.
        views: makes the views of some of its rows, an element a view.
    """

    number: int
    batch: Batch
    views: Callable[[slice], list[Tensor]]


def stay_one_ahead(
    batches: Iterable[ReadyBatch], begin: Callable[[Make], Make], ranks: Ranks = ALONE
) -> Iterator[ReadyBatch]:
    """Yield the batches, each when the views of its successor are begun.

    It holds the views of two batches at once.

    Args:
        batches: in order; their `views` are called for all rows of this rank at once.
        begin: begins to make views, and returns a function that hands them over.
        ranks: that share the rows.
    """
    previous: ReadyBatch | None = None
    for batch in batches:
        hand_over = begin(partial(batch.views, ranks.share(slice(0, len(batch.batch.index)))))
        if previous is not None:
            yield previous
        previous = replace(batch, views=partial(_all_rows, hand_over))
    if previous is not None:
        yield previous


def _all_rows(hand_over: Make, _rows: slice) -> list[Tensor]:
    return hand_over()


def hand_over_once(views: list[Tensor]) -> Make:
    """Return a function that returns `views` once, and then holds them no more."""

    def hand_over() -> list[Tensor]:
        handed = list(views)
        views.clear()
        return handed

    return hand_over


class SideStream:
    """A stream of a CUDA device beside the one in which it trains.

    Args:
        device: of type cuda.
        ranks: that share the rows of a batch.
    """

    def __init__(self, device: torch.device, ranks: Ranks = ALONE) -> None:
        self.device, self.ranks, self.stream = device, ranks, torch.cuda.Stream(device)

    def prefetch(self, batches: Iterator[ReadyBatch]) -> Iterator[ReadyBatch]:
        """Yield the batches of an epoch, of which there is at least one, with their views made ahead."""
        first = next(batches)  # sends the epoch's order to the device, which the views are made from
        self.stream.wait_stream(torch.cuda.current_stream(self.device))
        try:
            yield from stay_one_ahead(itertools.chain([first], batches), self.begin, self.ranks)
        finally:
            self.stream.synchronize()  # it may be at work on images that are let go, where a step raised

    def begin(self, make: Make) -> Make:
        """Launch `make` on this stream. The training's stream waits for it when it takes the views."""
        with torch.cuda.stream(self.stream):
            views = make()
            done = self.stream.record_event()
        hand_over = hand_over_once(views)

        def take() -> list[Tensor]:
            training = torch.cuda.current_stream(self.device)
            training.wait_event(done)
            tensors = hand_over()
            for x in tensors:
                x.record_stream(training)  # so that its memory is not reused while it trains
            return tensors

        return take


def open_side_stream(device: torch.device, chunks: int, ranks: Ranks = ALONE) -> SideStream | None:
    """Return the stream on which views are made ahead; none with chunks, which are there to save memory."""
    return SideStream(device, ranks) if device.type == "cuda" and chunks == 1 else None

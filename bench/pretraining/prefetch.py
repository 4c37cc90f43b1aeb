"""The views of the next batch, made while this one trains, where a device has a second queue of work.

A GPU works off queues. Training is put into one; the views of the batch after it into another before
that, so that they are made in what training leaves free. A CPU has one queue: there, nothing is
made ahead. What is made, and of which draws, is the same either way.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from bench.contracts.method import Batch

Make = Callable[[], list[Tensor]]


@dataclass(frozen=True)
class ReadyBatch:
    """A batch that is to be trained on.

    Args:
        number: of the batch in its epoch.
        batch: what the method is told of it.
        views: makes the views of some of its rows.
    """

    number: int
    batch: Batch
    views: Callable[[slice], list[Tensor]]


def stay_one_ahead(items: Iterable[ReadyBatch], aside: Callable[[Make], Make]) -> Iterator[ReadyBatch]:
    """Yield the batches, each when the views of the one after it are begun.

    Args:
        items: batches in order; their `views` are called for all rows at once.
        aside: begins what it is given, and returns a function that hands over what that makes.
    """
    before: ReadyBatch | None = None
    for item in items:
        hand_over = aside(partial(item.views, slice(0, len(item.batch.index))))
        if before is not None:
            yield before
        before = replace(item, views=partial(_all_rows, hand_over))
    if before is not None:
        yield before


def _all_rows(hand_over: Make, _rows: slice) -> list[Tensor]:
    return hand_over()


def hand_over_once(made: list[Tensor]) -> Make:
    """Return a function that returns `made` once, and then holds it no more."""

    def hand_over() -> list[Tensor]:
        given = list(made)
        made.clear()
        return given

    return hand_over


class SideStream:
    """A queue of a CUDA device beside the one in which it trains.

    Args:
        device: of type cuda.
    """

    def __init__(self, device: torch.device) -> None:
        self.device, self.stream = device, torch.cuda.Stream(device)

    def prefetch(self, items: Iterator[ReadyBatch]) -> Iterator[ReadyBatch]:
        """Yield the batches of an epoch, of which there is at least one, with their views made ahead."""
        first = next(items)  # sends the epoch's order to the device, which the views are made of
        self.stream.wait_stream(torch.cuda.current_stream(self.device))
        yield from stay_one_ahead(itertools.chain([first], items), self.begin)

    def begin(self, make: Make) -> Make:
        """Put what `make` launches into this queue; the training's waits for it when it takes it over."""
        with torch.cuda.stream(self.stream):
            made = make()
            done = self.stream.record_event()
        hand_over = hand_over_once(made)

        def take() -> list[Tensor]:
            training = torch.cuda.current_stream(self.device)
            training.wait_event(done)
            given = hand_over()
            for x in given:
                x.record_stream(training)  # so that its memory is not given away while it trains
            return given

        return take


def open_side_stream(device: torch.device, chunks: int) -> SideStream | None:
    """Return the queue in which views are made ahead; none in chunks, which are to save memory."""
    return SideStream(device) if device.type == "cuda" and chunks == 1 else None

"""Make the views of a batch: of images in memory, or of files that are decoded while the training runs.

Each view is made at its own size, or else at the run's image size.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

from bench.contracts.dataset import FileStream, Images
from bench.pretraining.crop_workers import Cropper, Crops, Piece, Unreadable, crop_in_workers, split_pieces
from bench.pretraining.gradient_cache import own_rows
from bench.pretraining.view_drawer import ViewDrawer, draw_views
from bench.system.device import to_device
from bench.system.profiler import mark

if TYPE_CHECKING:
    from bench.pretraining.training_run import TrainingRun

MakeViews = Callable[[slice], list[Tensor]]  # makes the views of some rows of a batch
ComingCrops = Generator[Crops | Unreadable, None, None]
Plan = Callable[[int], Iterable[Sequence[Tensor]]]  # from an epoch to its steps, each a sequence of batches


class ViewSource(Protocol):
    """Makes the views of one batch after the other."""

    def views(self, index: Tensor, epoch: int, number: int) -> MakeViews:
        """Draw the views of a batch, and return a function that makes those of some of its rows.

        Batches are asked for in turn, beginning with any of an epoch.

        Args:
            index: (n,), int64, positions of its images in the training split.
            epoch: counted from 0.
            number: of the batch in the epoch.
        """

    def close(self) -> None:
        """Stop what works ahead."""


def open_view_source(images: Images | FileStream, run: TrainingRun, plan: Plan) -> ViewSource:
    """Return what makes the views of a run."""
    return FileViews(images, run, plan) if isinstance(images, FileStream) else MemoryViews(images, run)


class MemoryViews:
    """Makes views of images that are in memory, or in a file that is mapped into it."""

    def __init__(self, images: Images, run: TrainingRun) -> None:
        self.pixels, self.run = images.pixels, run
        channels, height, width = images.pixels.shape[1:]
        self.drawer = ViewDrawer(run, [(channels, height, width)] * len(run.views), cropped=False)

    def views(self, index: Tensor, epoch: int, number: int) -> MakeViews:
        """Draw the views of a batch."""
        drawn = self.drawer.draw(len(index), epoch, number)

        @mark("views")
        def make(rows: slice) -> list[Tensor]:
            with mark("data"):
                pixels = to_device(self.pixels[index[rows]], self.run.device)
            return drawn.make([pixels] * len(self.run.views), rows)

        return make

    def close(self) -> None:
        """Stop drawing ahead."""
        self.drawer.close()


class FileViews:
    """Makes views of crops that worker processes cut from files.

    Crops are bytes, and stay in the CPU's memory until some rows are asked for. All but cropping is left to
    the device. So an affine map is one of the crop, not of the image.
    """

    def __init__(self, stream: FileStream, run: TrainingRun, plan: Plan) -> None:
        self.stream, self.run, self.plan = stream, run, plan
        self.sizes = tuple(view.side(run.training.image_size) for view in run.views)
        channels = len(run.mean)
        self.drawer = ViewDrawer(run, [(channels, size, size) for size in self.sizes], cropped=True)
        self.coming: ComingCrops | None = None

    def views(self, index: Tensor, epoch: int, number: int) -> MakeViews:
        """Draw the views of a batch, and wait for its crops."""
        drawn = self.drawer.draw(len(index), epoch, number)
        own = self._own_rows(len(index))
        with mark("data"):
            all_crops = self._next_crops(index, epoch, number)

        @mark("views")
        def make(rows: slice) -> list[Tensor]:
            with mark("data"):
                part = _place_among(own, rows)
                crops = [to_device(crops[part], self.run.device) for crops in all_crops]
            return drawn.make(crops, rows)

        return make

    def close(self) -> None:
        """Stop the workers, and drawing ahead."""
        self.drawer.close()
        if self.coming is not None:
            self.coming.close()
        self.coming = None

    def _next_crops(self, index: Tensor, epoch: int, number: int) -> Crops:
        """Return the crops of the next batch.

        Raises:
            BadData: an image cannot be decoded, or has changed.
        """
        if self.coming is None:
            self.coming = self._start_workers(epoch, number)
        pieces = []
        for rows in self._split_own(len(index)):
            crops = next(self.coming)
            if isinstance(crops, Unreadable):
                raise self.stream.refusal(int(index[rows][crops.position]), crops.reason)
            pieces.append(crops)
        return [torch.cat(crops) for crops in zip(*pieces, strict=True)]

    def _own_rows(self, images: int) -> list[slice]:
        """Return the rows of a batch that this rank has crops made of."""
        training, ranks = self.run.training, self.run.ranks
        return [slice(0, images)] if ranks.size == 1 else own_rows(images, training.chunk_size, ranks)

    def _split_own(self, images: int) -> Iterator[slice]:
        """Yield them a piece at a time."""
        for own in self._own_rows(images):
            for part in split_pieces(own.stop - own.start):
                yield slice(own.start + part.start, own.start + part.stop)

    def _start_workers(self, epoch: int, number: int) -> ComingCrops:
        """Return the crops of every piece from a batch on: there is no pause between two epochs."""
        run = self.run
        cropper = Cropper(self.stream.read, tuple(view.crop_ratio for view in run.views), self.sizes)
        # the training keeps one of the threads that it has; the others can decode
        workers = torch.get_num_threads() - 1 if run.workers is None else run.workers
        return crop_in_workers(
            cropper, self._plan_pieces(epoch, number), run.training.batch_size, workers, run.what
        )

    def _plan_pieces(self, first: int, skipped: int) -> Iterator[Piece]:
        """Yield the pieces of every batch, from epoch `first` on, but for some that are skipped there."""
        any_side = [(1, 1)] * len(self.sizes)  # a crop is drawn before the size of its image is known
        for epoch in range(first, self.run.training.epochs):
            batches = (index for step in self.plan(epoch) for index in step)
            for number, index in islice(enumerate(batches), skipped if epoch == first else 0, None):
                drawn = draw_views(self.run, len(index), any_side, epoch, number)
                crops = np.stack([draws.crop for draws in drawn])
                for rows in self._split_own(len(index)):
                    files = [str(self.stream.files[position]) for position in index[rows].tolist()]
                    stamps = () if self.stream.stamps is None else self.stream.stamps[index[rows]].tolist()
                    yield Piece(files, crops[:, rows], stamps)


def _place_among(parts: Sequence[slice], rows: slice) -> slice:
    """Return where rows are that lie within one of some parts, which follow each other without gaps there."""
    place = 0
    for part in parts:
        if part.start <= rows.start < part.stop:
            start = place + rows.start - part.start
            return slice(start, start + rows.stop - rows.start)
        place += part.stop - part.start
    return slice(place, place)

"""Where the views of a batch come from: images that are there, or files that are decoded meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from bench.augmentation.apply import apply
from bench.augmentation.clean import normalise
from bench.augmentation.draws import Draws, draw
from bench.contracts.dataset import FileStream, Images
from bench.keys import seed_of
from bench.pretraining.crop_workers import Cropper, Piece, Unreadable, crop_in_workers, split_pieces
from bench.system.device import to_device
from bench.system.profiler import mark

if TYPE_CHECKING:
    from bench.pretraining.training_run import TrainingRun

MakeViews = Callable[[slice], list[Tensor]]  # makes the views of some rows of a batch
Coming = Generator[Tensor | Unreadable, None, None]
Plan = Callable[[int], Iterable[Sequence[Tensor]]]  # an epoch's steps, of each its batches


class ViewSource(Protocol):
    """Gives the views of one batch after the other."""

    def views(self, index: Tensor, epoch: int, number: int) -> MakeViews:
        """Draw the views of a batch; what is returned makes those of some of its rows.

        Args:
            index: (n,), int64, places of its images.
            epoch: counted from 0.
            number: of the batch in the epoch; every batch is asked for in turn, from an epoch's first on.
        """

    def close(self) -> None:
        """Stop what works ahead."""


def open_view_source(images: Images | FileStream, run: TrainingRun, plan: Plan) -> ViewSource:
    """Return what gives the views of a run."""
    return FileViews(images, run, plan) if isinstance(images, FileStream) else MemoryViews(images, run)


class MemoryViews:
    """Views of images that are in memory, or in a file that is mapped into it."""

    def __init__(self, images: Images, run: TrainingRun) -> None:
        self.pixels, self.run = images.pixels, run

    def views(self, index: Tensor, epoch: int, number: int) -> MakeViews:
        """Draw the views of a batch."""
        height, width = self.pixels.shape[2:]
        drawn = _draw_views(self.run, len(index), (height, width), epoch, number)

        @mark("views")
        def made(rows: slice) -> list[Tensor]:
            with mark("data"):
                some = to_device(self.pixels[index[rows]], self.run.device)
            return _augment(self.run, [some] * len(drawn), [draws.rows(rows) for draws in drawn])

        return made

    def close(self) -> None:
        """Do nothing: nothing works ahead."""


class FileViews:
    """Views of crops that worker processes make of files: what is left to the device is their colour.

    Crops are bytes and stay in the CPU's memory, a batch of them, until some are asked for. An affine
    map is one of the crop, not of the image.
    """

    def __init__(self, stream: FileStream, run: TrainingRun, plan: Plan) -> None:
        self.stream, self.run, self.plan = stream, run, plan
        self.coming: Coming | None = None

    def views(self, index: Tensor, epoch: int, number: int) -> MakeViews:
        """Wait for the crops of a batch."""
        size = self.run.training.image_size
        drawn = _draw_views(self.run, len(index), (size, size), epoch, number)
        whole = torch.tensor([0.0, 0.0, size, size]).expand(len(index), 4)
        with mark("data"):
            crops = self._crops(index, epoch)

        @mark("views")
        def made(rows: slice) -> list[Tensor]:
            with mark("data"):
                some = [to_device(crop[rows], self.run.device) for crop in crops]
            return _augment(self.run, some, [replace(draws, box=whole).rows(rows) for draws in drawn])

        return made

    def close(self) -> None:
        """Stop the workers."""
        if self.coming is not None:
            self.coming.close()
        self.coming = None

    def _crops(self, index: Tensor, epoch: int) -> list[Tensor]:
        """Return the crops of the next batch, an element a view.

        Raises:
            BadData: an image cannot be decoded.
        """
        if self.coming is None:
            self.coming = self._start_workers(epoch)
        parts = []
        for rows in split_pieces(len(index)):
            part = next(self.coming)
            if isinstance(part, Unreadable):
                raise self.stream.refusal(int(index[rows][part.place]), part.why)
            parts.append(part)
        return list(torch.cat(parts, dim=1).unbind())

    def _start_workers(self, epoch: int) -> Coming:
        """Return what becomes of every piece from an epoch on: there is no pause between two epochs."""
        training = self.run.training
        cropper = Cropper(
            self.stream.read, tuple(view.crop_ratio for view in self.run.views), training.image_size
        )
        # a training that has the processor to itself wants one thread at least; the others can decode
        workers = torch.get_num_threads() - 1 if self.run.workers is None else self.run.workers
        return crop_in_workers(cropper, self._plan_pieces(epoch), training.batch_size, workers, self.run.what)

    def _plan_pieces(self, first: int) -> Iterator[Piece]:
        """Yield the pieces of every batch from an epoch on."""
        for epoch in range(first, self.run.training.epochs):
            batches = (index for step in self.plan(epoch) for index in step)
            for number, index in enumerate(batches):
                drawn = _draw_views(self.run, len(index), (1, 1), epoch, number)
                crops = torch.stack([draws.crop for draws in drawn]).numpy()
                for rows in split_pieces(len(index)):
                    files = [str(self.stream.files[place]) for place in index[rows].tolist()]
                    yield Piece(files, crops[:, rows])


def _draw_views(run: TrainingRun, n: int, side: tuple[int, int], epoch: int, number: int) -> list[Draws]:
    """Return the parameters of a batch of images of height and width `side`, an element a view."""
    drawn = []
    for place, view in enumerate(run.views):
        generator = torch.Generator().manual_seed(seed_of(run.seed, "views", epoch, number, place))
        drawn.append(draw(view, n, *side, generator))
    return drawn


def _augment(run: TrainingRun, pixels: Sequence[Tensor], drawn: Sequence[Draws]) -> list[Tensor]:
    """Return the views, normalised, of the images that each is of."""
    size = run.training.image_size
    every = zip(pixels, drawn, run.views, strict=True)
    views = (apply(some, draws, view, size) for some, draws, view in every)
    return [normalise(x, run.mean, run.std) for x in views]

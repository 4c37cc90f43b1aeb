"""Draw the parameters of a batch's views, and prepare them while the batch before it trains.

A thread is one batch ahead: so a step waits for no draw. What is drawn depends on the seed, the epoch and the
number of the batch alone, not on who draws it or when.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from bench.augmentation.apply import apply_prepared
from bench.augmentation.clean import normalise
from bench.augmentation.draws import Draws, draw
from bench.augmentation.preparation import Preparation, prepare
from bench.augmentation.view import join_views
from bench.keys import seed_of
from bench.pretraining.gradient_cache import own_rows
from bench.pretraining.training_run import TrainingRun


def draw_views(
    run: TrainingRun, n: int, sides: Sequence[tuple[int, int]], epoch: int, number: int
) -> list[Draws]:
    """Return the parameters of each view of a batch of `n` images.

    Args:
        run: its views and seed.
        n: images of the batch.
        sides: height and width of the images that each view is made of.
        epoch: counted from 0.
        number: of the batch in the epoch.
    """
    drawn = []
    for position, (view, (height, width)) in enumerate(zip(run.views, sides, strict=True)):
        generator = torch.Generator().manual_seed(seed_of(run.seed, "views", epoch, number, position))
        drawn.append(draw(view, n, height, width, generator))
    return drawn


@dataclass(frozen=True)
class Group:
    """Views of one size, which are made as one batch, so that fewer operations are dispatched.

    Args:
        numbers: of the views.
        prepared: one view after the other.
    """

    numbers: tuple[int, ...]
    prepared: Preparation


class ViewDrawer:
    """Draws the views of one batch after the other.

    Args:
        run: its views, seed, image size and device.
        images: channels, height and width of what each view is made of.
        cropped: each view is made of crops of its own; otherwise all are made of the same images.
    """

    def __init__(self, run: TrainingRun, images: Sequence[tuple[int, int, int]], *, cropped: bool) -> None:
        self.run, self.images, self.cropped = run, images, cropped
        self.thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="draws")
        self.next: tuple[tuple[int, int, int], Future[DrawnViews]] | None = None

    def draw(self, n: int, epoch: int, number: int) -> DrawnViews:
        """Return the views of a batch as they are drawn, and begin with those of the batch after it."""
        ahead, batch, following = self.next, (n, epoch, number), (n, epoch, number + 1)
        drawn = ahead[1].result() if ahead and ahead[0] == batch else DrawnViews(self, *batch)
        self.next = following, self.thread.submit(DrawnViews, self, *following)
        return drawn

    def close(self) -> None:
        """Draw no more."""
        self.thread.shutdown(cancel_futures=True)


class DrawnViews:
    """The views of a batch, drawn, and prepared for each of the chunks that it is embedded in.

    Args:
        drawer: of which they are.
        n: images of the batch.
        epoch: counted from 0.
        number: of the batch in the epoch.
    """

    def __init__(self, drawer: ViewDrawer, n: int, epoch: int, number: int) -> None:
        self.drawer = drawer
        sides = [shape[1:] for shape in drawer.images]
        self.draws = draw_views(drawer.run, n, sides, epoch, number)
        if drawer.cropped:
            self.draws = [_keep_whole(drawn, *side) for drawn, side in zip(self.draws, sides, strict=True)]
        chunks = own_rows(n, drawer.run.training.chunk_size, drawer.run.ranks)
        self.groups = {(rows.start, rows.stop): self._prepare(rows) for rows in chunks}

    def make(self, pixels: Sequence[Tensor], rows: slice) -> list[Tensor]:
        """Return the views of some rows, normalised, each at its own size.

        Args:
            pixels: what each view is made of, (rows, channels, h, w), uint8, on the run's device.
            rows: of the batch.
        """
        run = self.drawer.run
        groups = self.groups.get((rows.start, rows.stop)) or self._prepare(rows)
        views: dict[int, Tensor] = {}
        for group in groups:
            own = [pixels[number] for number in group.numbers]
            images = torch.cat(own) if self.drawer.cropped and len(own) > 1 else own[0]
            made = normalise(apply_prepared(images, group.prepared), run.mean, run.std)
            views |= dict(zip(group.numbers, made.split(len(own[0])), strict=True))
        return [views[number] for number in range(len(pixels))]

    def _prepare(self, rows: slice) -> list[Group]:
        """Return the views of some rows, those of one size together.

        They are if the hue is shifted in all of them or in none, as a shift by 0 rounds.
        """
        run, images = self.drawer.run, self.drawer.images
        image_size = run.training.image_size
        kinds = [(view.side(image_size), view.hue > 0, view.jitter > 0) for view in run.views]
        groups = []
        for kind in dict.fromkeys(kinds):
            numbers = tuple(number for number, own in enumerate(kinds) if own == kind)
            draws = Draws.join([self.draws[number].rows(rows) for number in numbers])
            view = join_views([run.views[number] for number in numbers])
            count = len(draws.flip) // (1 if self.drawer.cropped else len(numbers))
            shape = torch.Size((count, *images[numbers[0]]))
            groups.append(Group(numbers, prepare(draws, view, shape, kind[0], run.device)))
        return groups


def _keep_whole(draws: Draws, height: int, width: int) -> Draws:
    """Return the draws with all of an image as its crop."""
    box = np.array([0, 0, height, width], dtype=np.float32)
    return replace(draws, box=np.broadcast_to(box, draws.box.shape))

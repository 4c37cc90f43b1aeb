"""Views are drawn a batch ahead in a thread: it changes nothing but who waits, and little is dispatched."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dispatched import Dispatched
from file_streams import SIZE, TWO, images_of, make_pixels, run_in

from bench.augmentation.view import View
from bench.contracts.dataset import Images
from bench.pretraining import view_drawer
from bench.pretraining.gradient_cache import even_chunks
from bench.pretraining.view_drawer import ViewDrawer, draw_views
from bench.pretraining.view_sources import MemoryViews

META = torch.device("meta")


@pytest.fixture
def drawer(tmp_path: Path) -> ViewDrawer:
    return ViewDrawer(run_in(tmp_path / "run", views=TWO), [(3, 24, 24)] * 2, cropped=False)


def test_a_batch_that_was_drawn_ahead_is_the_one_that_is_drawn_alone(drawer: ViewDrawer) -> None:
    batches = [(20, 0, 0), (20, 0, 1), (20, 0, 2), (20, 1, 0), (7, 1, 1), (20, 0, 1)]

    for n, epoch, number in batches:
        expected = draw_views(drawer.run, n, [(24, 24)] * 2, epoch, number)
        for ours, theirs in zip(drawer.draw(n, epoch, number).draws, expected, strict=True):
            assert all(np.array_equal(value, getattr(theirs, name)) for name, value in vars(ours).items())


def test_only_the_first_batch_of_an_epoch_is_drawn_by_the_thread_that_trains(
    drawer: ViewDrawer, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn_by: dict[tuple[int, int], set[threading.Thread]] = {}

    def watch(run: Any, n: int, sides: Any, epoch: int, number: int) -> Any:
        drawn_by.setdefault((epoch, number), set()).add(threading.current_thread())
        return draw_views(run, n, sides, epoch, number)

    monkeypatch.setattr(view_drawer, "draw_views", watch)
    for epoch, number in ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1)):
        drawer.draw(20, epoch, number)
    drawer.close()
    here = threading.main_thread()

    assert [drawn_by[at] == {here} for at in ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1))] == [
        True, False, False, True, False,
    ]  # fmt: skip


def test_what_goes_wrong_ahead_is_raised_where_the_batch_is_asked_for(
    drawer: ViewDrawer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail_from_the_second(run: Any, n: int, sides: Any, epoch: int, number: int) -> Any:
        if number:
            raise MemoryError("no room for draws")
        return draw_views(run, n, sides, epoch, number)

    monkeypatch.setattr(view_drawer, "draw_views", fail_from_the_second)
    drawer.draw(20, 0, 0)

    with pytest.raises(MemoryError, match="no room for draws"):
        drawer.draw(20, 0, 1)


@pytest.mark.parametrize(("chunk_size", "chunks"), [(None, 1), (8, 3)])
def test_views_are_prepared_once_for_each_chunk_that_a_step_embeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk_size: int | None, chunks: int
) -> None:
    run = run_in(tmp_path / "run", views=TWO, chunk_size=chunk_size)
    drawn = ViewDrawer(run, [(3, 24, 24)] * 2, cropped=False).draw(20, 0, 0)
    monkeypatch.setattr(view_drawer, "prepare", None)  # it is not called again, in either pass over a chunk
    pixels = torch.zeros(20, 3, 24, 24, dtype=torch.uint8)
    rows = even_chunks(20, chunk_size)

    assert len(rows) == chunks
    for some in (*rows, *rows):
        assert all(len(view) == some.stop - some.start for view in drawn.make([pixels[some]] * 2, some))


def test_no_thread_is_left_when_a_training_is_over(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    source = MemoryViews(images_of(make_pixels()), run_in(tmp_path / "run", views=TWO))
    source.views(torch.arange(20), 0, 0)
    assert set(threading.enumerate()) > before
    source.close()

    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize(("blur", "most"), [(0.0, 260), (0.5, 310)])
def test_the_two_views_of_simclr_dispatch_few_operators(tmp_path: Path, blur: float, most: int) -> None:
    """A host with a fast GPU is busy with these; each view by itself, and each draw, they were 1,000."""
    view = View(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, blur=blur)
    run = run_in(tmp_path / "run", views=(view, view), device=META)
    images = Images(torch.zeros(64, 3, SIZE, SIZE, dtype=torch.uint8, device=META), torch.zeros(64))
    source = MemoryViews(images, run)
    index = torch.arange(64, device=META)
    source.views(index, 0, 0)(slice(0, 64))
    with Dispatched() as dispatched:
        views = source.views(index, 0, 1)(slice(0, 64))

    assert [view.shape for view in views] == [(64, 3, SIZE, SIZE)] * 2
    assert 100 < dispatched.count <= most

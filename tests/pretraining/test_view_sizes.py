"""A training on views of several sizes: each at its size, in chunks, ahead, resumed, and at its cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from file_streams import (
    SIZE,
    SIZED,
    TWO,
    EveryView,
    Stopped,
    images_of,
    make_method,
    make_pixels,
    run_in,
    same,
    train,
    two_batches,
)
from torch import Tensor

from bench.augmentation.apply import augment
from bench.augmentation.clean import normalise
from bench.augmentation.view import View
from bench.contracts.dataset import Images
from bench.contracts.method import Batch, Embeddings, Method
from bench.keys import seed_of
from bench.pretraining import loop
from bench.pretraining.online_knn import KnnSample
from bench.pretraining.prefetch import hand_over_once, stay_one_ahead
from bench.pretraining.view_sources import MemoryViews


@pytest.fixture(scope="module")
def images() -> Images:
    return images_of(make_pixels())


def flatten_weights(method: Method) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in method.parameters()])


def test_each_view_is_the_augmented_image_at_its_own_size(tmp_path: Path, images: Images) -> None:
    run = run_in(tmp_path / "run", views=SIZED)
    (index,) = next(two_batches(0))
    views = MemoryViews(images, run).views(index, 0, 0)(slice(0, 20))

    assert [x.shape for x in views] == [(20, 3, side, side) for side in (SIZE, SIZE, 8, 8, 17)]
    for position, (x, view) in enumerate(zip(views, SIZED, strict=True)):
        generator = torch.Generator().manual_seed(seed_of(run.seed, "views", 0, 0, position))
        expected = augment(images.pixels[index], view, view.side(SIZE), generator)
        assert torch.equal(x, normalise(expected, run.mean, run.std))


def test_a_size_that_is_the_runs_own_changes_no_bit(tmp_path: Path, images: Images) -> None:
    sized = tuple(replace(view, size=SIZE) for view in TWO)

    assert same(
        train(images, run_in(tmp_path / "unset", views=TWO)),
        train(images, run_in(tmp_path / "set", views=sized)),
    )


def test_a_method_gets_every_view_at_its_size(
    tmp_path: Path, images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes: set[tuple[int, ...]] = set()
    embed = EveryView.embed

    def look(self: EveryView, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        shapes.add(tuple(view.shape[3] for view in views))
        assert {len(view) for view in views} == {len(batch.index)}
        return embed(self, views, batch)

    monkeypatch.setattr(EveryView, "embed", look)
    train(images, run_in(tmp_path / "run", views=SIZED, chunk_size=7))

    assert shapes == {(SIZE, SIZE, 8, 8, 17)}


def test_in_chunks_the_gradient_is_that_of_the_whole_batch(tmp_path: Path, images: Images) -> None:
    weights = []
    for name, chunk_size in (("whole", None), ("chunks", 7)):
        method = make_method(per_sample=True)
        run = run_in(tmp_path / name, views=SIZED, chunk_size=chunk_size, epochs=1)
        loop.pretrain(method, images, run)
        weights.append(flatten_weights(method))
    start = flatten_weights(make_method(per_sample=True))

    torch.testing.assert_close(weights[0] - start, weights[1] - start, rtol=1e-4, atol=1e-7)
    assert float((weights[0] - start).abs().max()) > 1e-4


@pytest.mark.parametrize("settings", [{}, {"chunk_size": 7}, {"batch_size": 10, "accumulate": 2}], ids=str)
def test_a_run_that_was_stopped_is_bitwise_the_one_that_was_not(
    tmp_path: Path, images: Images, settings: Mapping[str, Any]
) -> None:
    def stop(epoch: int, metrics: Mapping[str, float]) -> None:
        if epoch == 2:
            raise Stopped

    whole = train(images, run_in(tmp_path / "whole", views=SIZED, **settings))
    parts = run_in(tmp_path / "parts", views=SIZED, checkpoint_every_s=0.0, **settings)
    with pytest.raises(Stopped):
        train(images, replace(parts, on_epoch=stop))

    assert same(whole, train(images, parts, seed=1))


def test_views_that_are_made_ahead_are_the_same_bit_for_bit(
    tmp_path: Path, images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    class AtOnce:
        """Stands for the side stream of a GPU: makes views as soon as they are begun."""

        def prefetch(self, batches: Any) -> Any:
            return stay_one_ahead(batches, lambda make: hand_over_once(make()))

    plain = train(images, run_in(tmp_path / "plain", views=SIZED))
    monkeypatch.setattr(loop, "open_side_stream", lambda _device, _chunks, _ranks: AtOnce())

    assert same(plain, train(images, run_in(tmp_path / "ahead", views=SIZED)))


SIDE = 16  # half of it is the least side a view may have


@pytest.mark.parametrize(
    ("views", "epochs"),
    [
        (TWO, [6, 12, 18, 20]),  # 27 images of 2 % of 40 images, 2 views, 3 passes: 5.6 epochs
        ((*TWO, TWO[0]), [4, 8, 12, 16, 20]),
        ((*TWO, *[replace(TWO[0], size=SIDE // 2)] * 4), [4, 8, 12, 16, 20]),  # four quarters are one view
        ((*TWO, replace(TWO[0], size=2 * SIDE)), [2, 4, 6, 8, 10, 12, 14, 16, 18, 20]),
        ((replace(TWO[0], size=SIDE // 2),), [20]),
    ],
    ids=["two views", "three views", "two and four of half the side", "one of twice the side", "one quarter"],
)
def test_a_view_counts_by_its_area_for_how_often_the_sample_is_classified(
    tmp_path: Path, images: Images, views: Any, epochs: list[int]
) -> None:
    knn = KnnSample(images.take(torch.arange(20)), images.take(torch.arange(20, 27)))
    run = run_in(tmp_path / "run", views=views, epochs=20, knn=knn, image_size=SIDE)
    _, lines = train(images, run)

    assert [line["epoch"] for line in lines if "online_knn_top1" in line] == epochs


def test_views_that_differ_are_made_as_one_batch_to_the_bit(tmp_path: Path, images: Images) -> None:
    plain, strong = View(hue=0.0), View(blur=0.5, solarise=0.3, affine=0.5, grey=0.5)
    views = (strong, replace(strong, solarise=0.0, blur=1.0), replace(strong, jitter=0.0), plain)
    run = run_in(tmp_path / "run", views=views)
    (index,) = next(two_batches(0))
    made = MemoryViews(images, run).views(index, 3, 5)(slice(0, 20))
    for number, (view, found) in enumerate(zip(views, made, strict=True)):
        generator = torch.Generator().manual_seed(seed_of(run.seed, "views", 3, 5, number))
        expected = augment(images.pixels[index], view, SIZE, generator)

        assert torch.equal(found, normalise(expected, run.mean, run.std))

"""Which images an epoch takes: all alike, however many there are and wherever a training was stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from watched_training import IMAGES, Stopped, Watching, run_in, same, stop_at, untimed

from bench.pretraining.batches import plan_batches
from bench.pretraining.loop import pretrain

CPU = torch.device("cpu")
ROWS = torch.tensor([3, 9, 4, 1, 7, 12, 30])


def epoch_of(folder: Path, epoch: int, rows: Tensor = ROWS, **changes: Any) -> list[int]:
    """Return the images of an epoch in the order in which they come."""
    run = run_in(folder, batch_size=10, **changes)
    return [i for step in plan_batches(rows, run, CPU, epoch) for batch in step for i in batch.tolist()]


def counts(seen: list[int], rows: Tensor = ROWS) -> list[int]:
    return [seen.count(row) for row in rows.tolist()]


@pytest.mark.parametrize("images", [10, 20, 45, 70, 101])
def test_an_epoch_and_the_run_up_to_it_see_each_image_equally_often_to_one(
    tmp_path: Path, images: int
) -> None:
    run: list[int] = []
    for epoch in range(9):
        seen = epoch_of(tmp_path, epoch, epoch_images=images)
        run += seen

        assert len(seen) == images // 10 * 10
        assert max(counts(seen)) - min(counts(seen)) <= 1
        assert max(counts(run)) - min(counts(run)) <= 1


def test_more_images_than_an_epoch_takes_have_their_turn_in_the_next(tmp_path: Path) -> None:
    rows = torch.arange(100, 145)
    seen = [epoch_of(tmp_path, epoch, rows, epoch_images=20) for epoch in range(9)]

    assert all(len(set(epoch)) == 20 for epoch in seen)
    assert counts([i for epoch in seen for i in epoch], rows) == [4] * 45


def test_the_remainder_is_of_other_images_in_every_epoch(tmp_path: Path) -> None:
    more = []
    for epoch in range(7):
        seen = counts(epoch_of(tmp_path, epoch, epoch_images=10))
        more.append(tuple(i for i, count in enumerate(seen) if count == 2))

    assert all(len(extra) == 3 for extra in more)
    assert len(set(more)) > 1


def test_each_round_of_an_epoch_is_in_another_order_and_has_each_image_once(tmp_path: Path) -> None:
    seen = epoch_of(tmp_path, 0, epoch_images=70)
    rounds = [seen[start : start + 7] for start in range(0, 70, 7)]

    assert all(sorted(part) == sorted(ROWS.tolist()) for part in rounds)
    assert len({tuple(part) for part in rounds}) > 5


def test_the_seed_gives_the_order(tmp_path: Path) -> None:
    one, again, other = (epoch_of(tmp_path, 2, epoch_images=45, seed=seed) for seed in (0, 0, 1))

    assert one == again != other


@pytest.mark.parametrize("settings", [{}, {"chunk_size": 7}, {"accumulate": 2, "batch_size": 10}])
def test_a_training_in_turn_that_was_stopped_is_bitwise_the_one_that_was_not(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    turn = {"rows": ROWS, "epoch_images": 45, "checkpoint_every_s": 0.0, **settings}
    whole, stopped = Watching(), Watching()
    pretrain(whole, IMAGES, run_in(tmp_path / "whole", **turn))
    with pytest.raises(Stopped):
        pretrain(stopped, IMAGES, run_in(tmp_path / "parts", on_epoch=stop_at(2), **turn))
    resumed = Watching()
    pretrain(resumed, IMAGES, run_in(tmp_path / "parts", **turn))

    assert same(whole, resumed)
    assert untimed(tmp_path / "whole") == untimed(tmp_path / "parts")


def test_a_batch_may_be_larger_than_all_that_is_labelled(tmp_path: Path) -> None:
    method = Watching()
    pretrain(method, IMAGES, run_in(tmp_path, rows=ROWS[:3], epoch_images=45))
    seen = torch.cat([batch.index for batch in method.seen.batches])

    assert [len(batch.index) for batch in method.seen.batches] == [20] * 6
    assert counts(seen.tolist(), ROWS[:3]) == [40] * 3

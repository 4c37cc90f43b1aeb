"""The pass before the first epoch, and what a method does once an epoch: in chunks and after a stop, too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from file_streams import stream_of, write_files
from kept_state import largest_difference, stopped, trained
from tiny_training import IMAGES, INFO, VIEW, Exact, frozen, lines, net, run_in
from torch import Tensor, nn

from bench.contracts.method import Batch, Embeddings, Method, Step
from bench.pretraining.loop import pretrain


class Noting(Method):
    """Pull an image to where it was last, and all to a mean that is taken once an epoch."""

    def __init__(self, seed: int = 0) -> None:
        torch.manual_seed(seed)
        super().__init__(net(Exact()), 6, None, INFO)
        self.head = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4))
        self.register_buffer("bank", torch.zeros(len(IMAGES), 4))
        self.register_buffer("seen", torch.zeros(len(IMAGES), dtype=torch.bool))
        self.register_buffer("mean", torch.zeros(4))
        self.double()
        self.told: list[Any] = []
        self.views: list[Tensor] = []

    def first_pass(self, embeddings: Embeddings, batch: Batch) -> None:
        self.told.append(("pass", batch.step.number, batch.step.with_gradient, torch.is_grad_enabled()))
        self.told.append([p.detach().clone() for p in (*self.parameters(), self.head[1].running_mean)])
        self._note(embeddings, batch)

    def _note(self, embeddings: Embeddings, batch: Batch) -> None:
        self.bank[batch.index] = embeddings["z"].double()
        self.seen[batch.index] = True

    def before_step(self, step: Step) -> None:
        if step.starts_epoch:
            self.told.append(("epoch", step.number, int(self.seen.sum())))
            noted = self.bank[self.seen]
            self.mean.copy_(noted.sum(dim=0) / max(1, len(noted)) + 1e-3 * torch.rand(4))
            self.seen.zero_()

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        self.views.append(views[0])
        return {"z": self.head(self.backbone(views[0]))}

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        z = embeddings["z"].double()
        return {"bank": (z - self.bank[batch.index]).square().mean(), "mean": (z - self.mean).abs().mean()}

    def after_batch(self, embeddings: Embeddings, batch: Batch) -> None:
        self._note(embeddings, batch)


def still(seed: int) -> Method:
    """Return the method without batch statistics, which are each chunk's own."""
    return frozen(Noting(seed))


def test_the_pass_comes_once_before_the_first_step_with_as_many_images_as_an_epoch(tmp_path: Path) -> None:
    method = trained(Noting, tmp_path, epochs=3)

    assert isinstance(method, Noting)
    assert [told for told in method.told if isinstance(told, tuple)] == [
        ("pass", 0, False, False), ("pass", 0, False, False),
        ("epoch", 0, 40), ("epoch", 2, 40), ("epoch", 4, 40),
    ]  # fmt: skip


def test_neither_weights_nor_the_statistics_of_batch_norm_are_changed_by_it(tmp_path: Path) -> None:
    method, fresh = trained(Noting, tmp_path), Noting()
    noted = next(told for told in reversed(method.told) if isinstance(told, list))
    first = [*fresh.parameters(), fresh.head[1].running_mean]

    assert all(map(torch.equal, noted, first))
    assert not torch.equal(method.head[1].running_mean, fresh.head[1].running_mean)


def test_its_views_are_not_those_of_the_first_epoch(tmp_path: Path) -> None:
    method = trained(Noting, tmp_path)

    assert len(method.views) == 4
    assert not any(torch.equal(method.views[i], method.views[k]) for i in (0, 1) for k in (2, 3))


def test_a_method_that_does_not_ask_for_a_pass_is_shown_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(Noting, "first_pass")

    assert len(trained(Noting, tmp_path).views) == 2


@pytest.mark.parametrize("chunk_size", [2, 7])
def test_in_chunks_it_is_the_pass_of_the_whole_batch(tmp_path: Path, chunk_size: int) -> None:
    whole = trained(still, tmp_path / "whole", epochs=2)
    chunked = trained(still, tmp_path / "chunked", epochs=2, chunk_size=chunk_size)

    assert largest_difference(whole.state_dict(), chunked.state_dict()) < 1e-6


@pytest.mark.parametrize("at", [2, 3])
@pytest.mark.parametrize("changes", [{}, {"chunk_size": 7}])
def test_a_stopped_training_goes_on_bit_for_bit_and_without_another_pass(
    tmp_path: Path, changes: dict[str, Any], at: int
) -> None:
    whole = trained(Noting, tmp_path / "whole", epochs=3, **changes)
    second = stopped(Noting, tmp_path / "parts", at, epochs=3, **changes)

    assert largest_difference(whole.state_dict(), second.state_dict()) == 0
    assert [told[0] for told in second.told] == ["epoch"] * (3 - at)


def test_streamed_files_are_passed_over_too(tmp_path: Path) -> None:
    """Whole images, at the size that they have: so those of a file are those in memory."""
    whole = replace(VIEW, crop_min=1.0, crop_ratio=1.0, affine=0.0, blur=0.0)
    files, methods = write_files(tmp_path / "files", IMAGES.pixels), []
    for number, images in enumerate((IMAGES, stream_of(files))):
        run = replace(run_in(tmp_path / str(number), epochs=2, image_size=8), views=(whole,), workers=0)
        methods.append(still(0))
        pretrain(methods[-1], images, run)

    assert largest_difference(*(method.state_dict() for method in methods)) < 1e-2
    assert not torch.equal(methods[0].bank, still(0).bank)


def test_the_pass_is_in_the_cost_and_not_in_the_speed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that goes on by a second whenever images are embedded in the pass."""
    now, note = [0.0], Noting.first_pass

    def slowly(self: Noting, embeddings: Embeddings, batch: Batch) -> None:
        now[0] += 100
        note(self, embeddings, batch)

    monkeypatch.setattr(Noting, "first_pass", slowly)
    monkeypatch.setattr("bench.pretraining.loop.time.monotonic", lambda: now[0])
    pretrain(Noting(), IMAGES, run_in(tmp_path))
    (line,) = lines(tmp_path)

    assert line["seconds"] == 200
    assert line["images_per_s"] > 1e6


@pytest.mark.parametrize(("epochs", "steps"), [(1, 1), (1, 4), (3, 1), (3, 5)])
def test_one_step_of_each_epoch_starts_it(epochs: int, steps: int) -> None:
    total = epochs * steps
    starting = [
        Step(number=n, total=total, epoch=n // steps, epochs=epochs).starts_epoch for n in range(total)
    ]

    assert [number for number, starts in enumerate(starting) if starts] == list(range(0, total, steps))

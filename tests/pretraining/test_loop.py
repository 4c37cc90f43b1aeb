"""What a method is given, what is written down, and what is refused."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor
from watched_training import (
    IMAGES,
    TIMES,
    Watching,
    lines,
    run_in,
    same,
    simclr,
    untimed,
)

from bench.augmentation.view import View
from bench.contracts.method import Batch, Embeddings
from bench.errors import BadValue, Diverged
from bench.pretraining import loop as pretrain


def test_a_seed_gives_its_loss_and_another_seed_another(tmp_path: Path) -> None:
    for name, seed in (("one", 0), ("again", 0), ("other", 1)):
        torch.rand(3)
        pretrain.pretrain(simclr(), IMAGES, run_in(tmp_path / name, seed=seed))

    assert untimed(tmp_path / "one") == untimed(tmp_path / "again")
    losses = [[line["loss"] for line in lines(tmp_path / name)] for name in ("one", "other")]
    assert all(one != other for one, other in zip(*losses, strict=True))


def test_every_epoch_has_an_order_and_views_of_its_own(tmp_path: Path) -> None:
    method = Watching()
    pretrain.pretrain(method, IMAGES, run_in(tmp_path))
    orders = [batch.index.tolist() for batch in method.seen.batches]
    a, b = method.seen.views[:2]

    assert orders[0] != orders[2]
    assert not torch.equal(a, b)


def test_a_batch_is_whole_and_its_labels_are_its_images(tmp_path: Path) -> None:
    method = Watching()
    pretrain.pretrain(method, IMAGES, run_in(tmp_path, epochs=1))
    batches = method.seen.batches
    index = torch.cat([batch.index for batch in batches])

    assert [len(batch.index) for batch in batches] == [20, 20]  # of 45: the last five are left out
    assert len(index.unique()) == 40
    assert all(torch.equal(batch.labels, IMAGES.labels[batch.index]) for batch in batches)


def test_a_run_on_some_rows_is_bitwise_the_one_on_these_images(tmp_path: Path) -> None:
    rows = torch.tensor([3, 9, 4, 1, 7]).repeat(9)
    chosen, copied = Watching(), Watching()
    pretrain.pretrain(chosen, IMAGES, run_in(tmp_path / "rows", rows=rows))
    pretrain.pretrain(copied, IMAGES.take(rows), run_in(tmp_path / "copies"))
    seen = torch.cat([batch.index for batch in chosen.seen.batches])

    assert untimed(tmp_path / "rows") == untimed(tmp_path / "copies")
    assert same(chosen, copied)
    assert seen.unique().tolist() == [1, 3, 4, 7, 9]
    with pytest.raises(BadValue, match="batch"):
        pretrain.pretrain(Watching(), IMAGES, run_in(tmp_path / "few", rows=rows[:19]))


def test_views_are_normalised_and_channels_last(tmp_path: Path) -> None:
    method = Watching()
    plain = View(crop_min=1.0, crop_ratio=1.0, flip=0.0, jitter=0.0, grey=0.0)
    pretrain.pretrain(method, IMAGES, run_in(tmp_path, epochs=1, image_size=8, views=(plain,)))
    x, index = method.seen.views[0], method.seen.batches[0].index
    mean, std = (
        torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1),
        torch.tensor([0.2, 0.25, 0.3]).view(1, 3, 1, 1),
    )

    assert torch.allclose(x, (IMAGES.pixels[index] / 255 - mean) / std, atol=1e-5)
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert method.backbone[0].weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_embeddings_are_made_under_autocast_and_terms_in_float32(tmp_path: Path, precision: str) -> None:
    method, low = Watching(), precision != "float32"
    pretrain.pretrain(method, IMAGES, run_in(tmp_path, epochs=1, precision=precision))

    assert method.seen.autocast == [low, False] * 2
    assert set(method.seen.dtypes) == {torch.float32}
    assert {p.dtype for p in method.parameters()} == {torch.float32}


def test_a_method_knows_after_every_step_where_the_training_is(tmp_path: Path) -> None:
    method = Watching()
    pretrain.pretrain(method, IMAGES, run_in(tmp_path))

    assert method.seen.progress == pytest.approx([step / 6 for step in range(6)])


def test_an_epoch_is_one_line_with_everything_that_can_be_watched(tmp_path: Path) -> None:
    method, told = Watching(), []
    pretrain.pretrain(
        method, IMAGES, run_in(tmp_path, on_epoch=lambda epoch, metrics: told.append((epoch, dict(metrics))))
    )
    found = lines(tmp_path)

    assert [list(line) for line in found] == [
        ["epoch", "step", "lr", "loss", "pull", "push", "z_std", "z_rankme", "largest", *reversed(TIMES)]
    ] * 3
    assert [(line["epoch"], line["step"]) for line in found] == [(1, 2), (2, 4), (3, 6)]
    assert all(line["loss"] == pytest.approx(line["pull"] + line["push"]) for line in found)
    assert all(math.isfinite(value) for line in found for value in line.values())
    assert told == list(enumerate(found, 1))


def test_a_term_is_its_mean_over_the_epoch(tmp_path: Path) -> None:
    pulls: list[float] = []

    class Telling(Watching):
        def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
            terms = super().terms(embeddings, batch)
            pulls.append(float(terms["pull"].detach()))
            return terms

    pretrain.pretrain(Telling(), IMAGES, run_in(tmp_path))

    assert [line["pull"] for line in lines(tmp_path)] == pytest.approx(
        [sum(pulls[2 * epoch : 2 * epoch + 2]) / 2 for epoch in range(3)]
    )


def test_a_contrastive_run_tells_how_near_the_other_view_is(tmp_path: Path) -> None:
    pretrain.pretrain(simclr(), IMAGES, run_in(tmp_path))

    assert all(0 <= line["contrastive_top1"] <= line["contrastive_top5"] <= 100 for line in lines(tmp_path))
    assert all(1 <= line["positive_rank"] <= 39 for line in lines(tmp_path))
    assert all(0 < line["z_std"] <= 8**-0.5 and 1 <= line["z_rankme"] <= 8 for line in lines(tmp_path))


@pytest.mark.parametrize("step", [1, 4])
def test_a_loss_that_is_not_finite_names_its_step_and_its_terms(tmp_path: Path, step: int) -> None:
    pattern = (
        rf"^the run: the loss became nan at step {step} \(pull [\d.e-]+, push nan\)\. "
        r"Use --set train\.lr=0\.02 \(it is"
    )
    with pytest.raises(Diverged, match=pattern):
        pretrain.pretrain(Watching(nan_at=step), IMAGES, run_in(tmp_path))

    assert len((tmp_path / "metrics.jsonl").read_text().splitlines() if step > 2 else []) == (step - 1) // 2


def test_fewer_images_than_a_batch_are_refused(tmp_path: Path) -> None:
    message = "a step takes 46 images, but the data has 45 to train on. Set --batch-size to at most 45"
    with pytest.raises(BadValue, match=message):
        pretrain.pretrain(Watching(), IMAGES, run_in(tmp_path, batch_size=46))


def test_as_many_images_as_a_batch_are_one_step(tmp_path: Path) -> None:
    pretrain.pretrain(Watching(), IMAGES, run_in(tmp_path, batch_size=45, epochs=2))

    assert [line["step"] for line in lines(tmp_path)] == [1, 2]


def test_training_lowers_the_loss(tmp_path: Path) -> None:
    pretrain.pretrain(Watching(), IMAGES, run_in(tmp_path, epochs=6, lr=0.1))
    losses = [line["loss"] for line in lines(tmp_path)]

    assert losses[-1] < losses[0]


@pytest.mark.parametrize("shape", [(), (6,), (4, 4), (2, 3, 3)])
def test_embeddings_of_any_rank_are_watched(tmp_path: Path, shape: tuple[int, ...]) -> None:
    class Shaped(Watching):
        def embed(self, views: list[Tensor], batch: Batch) -> Embeddings:  # type: ignore[override]
            embeddings = super().embed(views, batch)
            mean = embeddings["first"].mean(dim=1).view(-1, *[1] * len(shape))
            return {"first": mean.expand(-1, *shape), "second": embeddings["second"]}

    pretrain.pretrain(Shaped(), IMAGES, run_in(tmp_path, epochs=1))
    (line,) = lines(tmp_path)

    assert math.isfinite(line["z_std"])
    assert line["z_rankme"] == pytest.approx(1, abs=0.01)  # all numbers of an image are alike

"""A batch in chunks: its gradient, in the memory of a chunk."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_training import (
    BATCH,
    IMAGES,
    INFO,
    TIMES,
    Exact,
    Stopped,
    Watching,
    apart,
    exact,
    frozen,
    gradients,
    lines,
    method_of,
    net,
    run_in,
)
from torch import Tensor, nn

from bench.contracts.method import Batch, Embeddings, Method
from bench.pretraining.loop import pretrain


class TwoLevels(Method):
    """Embeddings of images and of places in them, one without a graph, and a weight in `terms`."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__(net(Exact()), 6, None, INFO)
        self.scale = nn.Parameter(torch.ones(()))
        self.double()

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        places = [self.backbone[:5](view) for view in views]
        a, b = (self.backbone[5:](maps) for maps in places)
        return {"a": a, "target": b.detach(), "places": places[0], "unused": b}

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        a, places = embeddings["a"], embeddings["places"]
        logits = self.scale * a @ embeddings["target"].T
        apart = places.mean(dim=(2, 3)).T.cov().square().sum()
        return {"contrast": nn.functional.cross_entropy(logits, torch.arange(len(a))), "apart": 10 * apart}


class Drifting(nn.Module):
    """Centres by a running mean, that of its own batch not yet in it."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        centred = x - self.mean
        with torch.no_grad():
            self.mean.lerp_(x.mean(dim=(0, 2, 3), keepdim=True)[0] + 1, 0.5)
        return centred


@pytest.mark.parametrize("chunk_size", [2, 5, 7, 19])
@pytest.mark.parametrize("name", ["simclr", "vicreg"])
def test_the_gradient_in_chunks_is_that_of_the_whole_batch(
    tmp_path: Path, name: str, chunk_size: int
) -> None:
    whole = gradients(exact(name), tmp_path)
    chunked = gradients(exact(name), tmp_path, chunk_size=chunk_size)

    assert len(whole) == len(list(method_of(name).parameters()))
    assert apart(chunked, whole) < 1e-6


def test_embeddings_of_any_shape_and_a_weight_in_the_loss_have_their_gradient(tmp_path: Path) -> None:
    whole, chunked = gradients(TwoLevels(), tmp_path), gradients(TwoLevels(), tmp_path, chunk_size=6)

    assert apart(chunked, whole) < 1e-6
    assert "scale" in whole


@pytest.mark.parametrize("optimizer", ["lars", "adamw"])
def test_training_in_chunks_gives_the_same_weights_and_losses(tmp_path: Path, optimizer: str) -> None:
    methods = {"whole": exact("simclr"), "chunked": exact("simclr")}
    settings = {"epochs": 4, "optimizer": optimizer, "lr": 0.01, "weight_decay": 1e-3}
    for name, method in methods.items():
        run = run_in(tmp_path / name, chunk_size=6 if name == "chunked" else None, **settings)
        pretrain(method, IMAGES, run)
    found, wanted = (dict(methods[name].named_parameters()) for name in ("chunked", "whole"))
    losses = [[line["loss"] for line in lines(tmp_path / name)] for name in methods]

    assert apart(found, wanted) < 1e-6
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert not torch.equal(wanted["backbone.1.weight"], exact("simclr").backbone[1].weight)


def test_views_are_bitwise_those_of_the_whole_batch_in_both_passes(tmp_path: Path) -> None:
    whole, chunked = Watching(method_of("simclr")), Watching(method_of("simclr"))
    pretrain(whole, BATCH, run_in(tmp_path))
    pretrain(chunked, BATCH, run_in(tmp_path, chunk_size=7))

    assert [len(views[0]) for views in chunked.views] == [7, 7, 6] * 2
    for place, view in enumerate(whole.views[0]):
        for half in (chunked.views[:3], chunked.views[3:]):
            assert torch.equal(torch.cat([views[place] for views in half]), view)


def test_labels_and_places_are_those_of_the_images(tmp_path: Path) -> None:
    watching = Watching(method_of("simclr"))
    pretrain(watching, IMAGES, run_in(tmp_path, chunk_size=7))

    assert all(torch.equal(batch.labels, IMAGES.labels[batch.index]) for batch in watching.batches)
    assert len(torch.cat([batch.index for batch in watching.batches[:6]]).unique()) == 20


def test_both_passes_see_the_same_network_and_draw_alike(tmp_path: Path) -> None:
    watching = Watching(method_of("simclr", nn.BatchNorm2d(3), Drifting(), nn.Dropout(0.5)))
    pretrain(watching, BATCH, run_in(tmp_path, chunk_size=5))

    assert watching.drawn[:4] == watching.drawn[4:]
    assert len(set(watching.drawn)) == 4
    assert all(torch.equal(a, b) for a, b in zip(watching.made[:4], watching.made[4:], strict=True))


@pytest.mark.parametrize("chunk_size", [5, 8])
def test_running_statistics_move_once_a_step(tmp_path: Path, chunk_size: int) -> None:
    whole, chunked = (method_of("simclr", nn.BatchNorm2d(3)) for _ in range(2))
    pretrain(whole, IMAGES, run_in(tmp_path, epochs=2))
    pretrain(chunked, IMAGES, run_in(tmp_path, epochs=2, chunk_size=chunk_size))
    wanted, found = whole.backbone[0], chunked.backbone[0]

    assert torch.allclose(found.running_mean, wanted.running_mean, rtol=1e-5, atol=1e-6)
    assert torch.allclose(found.running_var, wanted.running_var, rtol=0.05)
    assert found.num_batches_tracked == wanted.num_batches_tracked == 4
    assert wanted.running_mean.abs().min() > 0


def test_statistics_that_are_frozen_stay_bitwise(tmp_path: Path) -> None:
    method = exact("simclr")
    before = {name: value.clone() for name, value in method.named_buffers()}
    pretrain(method, BATCH, run_in(tmp_path, chunk_size=7))

    assert before
    assert all(torch.equal(value, before[name]) for name, value in method.named_buffers())


def test_the_batch_of_batch_norm_is_the_chunk(tmp_path: Path) -> None:
    whole = gradients(method_of("simclr"), tmp_path)
    chunked = gradients(method_of("simclr"), tmp_path, chunk_size=10)

    assert apart(chunked, whole) > 1e-2


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_has_the_same_gradient_but_for_its_rounding(tmp_path: Path, precision: str) -> None:
    def found(**settings: Any) -> dict[str, Tensor]:
        return gradients(frozen(method_of("simclr")), tmp_path, **settings)

    whole, chunked = found(precision=precision), found(precision=precision, chunk_size=5)
    rounding = apart(whole, found())

    assert apart(chunked, found()) < 2 * rounding < 0.5


def test_what_is_kept_for_the_way_back_is_that_of_a_chunk(tmp_path: Path) -> None:
    def kept(batch_size: int, **settings: Any) -> int:
        images, method = IMAGES.take(torch.arange(batch_size)), exact("simclr")
        run = run_in(tmp_path, image_size=48, batch_size=batch_size, **settings)
        return kept_bytes(lambda: pretrain(method, images, run))

    assert kept(40, chunk_size=4) < 1.2 * kept(4) < kept(40) / 5


def kept_bytes(work: Callable[[], object]) -> int:
    """Return the most bytes that were saved for a backward pass at any time, doubles counted."""
    now, most = 0, 0

    class Kept:
        def __init__(self, tensor: Tensor) -> None:
            nonlocal now, most
            self.tensor = tensor
            now += tensor.nbytes
            most = max(most, now)

        def __del__(self) -> None:
            nonlocal now
            now -= self.tensor.nbytes

    with torch.autograd.graph.saved_tensors_hooks(Kept, lambda kept: kept.tensor):
        work()
    return most


def test_a_run_that_was_stopped_is_bitwise_the_one_that_was_not(tmp_path: Path) -> None:
    def stop(done: int, metrics: Mapping[str, float]) -> None:
        if done == 3:
            raise Stopped

    def method(seed: int = 0) -> Method:
        return method_of("simclr", nn.BatchNorm2d(3), nn.Dropout(0.5), seed=seed)

    settings = {"epochs": 4, "batch_size": 10, "chunk_size": 4, "accumulate": 2}
    whole, second = method(), method(seed=1)
    pretrain(whole, IMAGES, run_in(tmp_path / "whole", **settings))
    parts = run_in(tmp_path / "parts", run={"checkpoint_every_s": 0.0}, **settings)
    with pytest.raises(Stopped):
        pretrain(method(), IMAGES, replace(parts, on_epoch=stop))
    pretrain(second, IMAGES, parts)
    untimed = [
        [{name: value for name, value in line.items() if name not in TIMES} for line in lines(tmp_path / run)]
        for run in ("whole", "parts")
    ]

    assert all(torch.equal(value, second.state_dict()[name]) for name, value in whole.state_dict().items())
    assert untimed[0] == untimed[1]


def test_embeddings_that_are_not_a_row_an_image_are_refused(tmp_path: Path) -> None:
    class Joined(TwoLevels):
        def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
            return {"both": self.backbone(torch.cat(list(views)))}

    with pytest.raises(ValueError, match=r"^embed\(\): both has 14 rows for 7 images\. Return a row an"):
        pretrain(Joined(), BATCH, run_in(tmp_path, chunk_size=7))

"""Large batches: chunks give the whole batch's gradient in the memory of one, accumulation the mean."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Lab
from torch import Tensor, nn

from bench.augmentation.view import View
from bench.config import build
from bench.contracts.dataset import DatasetInfo, Images
from bench.contracts.method import Batch, Embeddings, Method, Step
from bench.contracts.recipe import TrainConfig, Training, even_chunk, resolve
from bench.errors import BadValue
from bench.inspection.dry_run import estimate_seconds
from bench.pretraining.gradient_cache import even_chunks
from bench.pretraining.loop import pretrain
from bench.pretraining.training_run import TrainingRun
from bench.registry.registry import Registry

REGISTRY = Registry.load()
INFO = DatasetInfo(classes=("a", "b"), channels=3, size=8)
VIEW = View(blur=0.5, solarise=0.3, affine=0.5)
IMAGES = Images(
    torch.randint(0, 256, (45, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)),
    torch.arange(45) % 2,
)
BATCH = IMAGES.take(torch.arange(20))  # an epoch is a step
SMALL = {"simclr": {"hidden_dim": 16, "embedding_dim": 8}, "vicreg": {"embedding_dim": 8}}
TIMES = ("seconds", "images_per_s")


class Stopped(Exception):
    """Stands for the end of a process."""


class Exact(nn.Module):
    """Makes what follows compute in float64: two sums in another order then agree."""

    def forward(self, x: Tensor) -> Tensor:
        return x.double()


def net(*first: nn.Module) -> nn.Module:
    """Return a network without batch norm but for what comes first."""
    return nn.Sequential(
        *first,
        *(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(4, 6, 3, stride=2), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 6)),
    )


def method_of(name: str, *first: nn.Module, seed: int = 0) -> Method:
    torch.manual_seed(seed)
    cls: Any = REGISTRY.load_class("methods", name)
    method: Method = cls(net(*first), 6, cls.Config(**SMALL[name]), INFO)
    return method


def exact(name: str) -> Method:
    """Return a method in float64 without batch statistics."""
    return frozen(method_of(name, Exact())).double()


def frozen(method: Method) -> Method:
    """Keep the batch norms in eval mode, whatever mode the method is put into."""
    for module in method.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.eval().train = partial(still, module)
    return method


def still(module: nn.Module, mode: bool = True) -> nn.Module:  # noqa: FBT001, FBT002
    return module


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


class Watching(Method):
    """A method that keeps what it is given and what it makes of it."""

    def __init__(self, inner: Method) -> None:
        super().__init__(inner.backbone, 6, None, INFO)
        self.inner, self.progress = inner, list[float]()
        self.drawn = list[float]()
        self.views, self.made, self.batches = list[list[Tensor]](), list[Tensor](), list[Batch]()

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        embeddings = self.inner.embed(views, batch)
        self.views.append(list(views))
        self.made.append(next(iter(embeddings.values())).detach())
        self.batches.append(batch)
        self.drawn.append(float(torch.rand(())))
        return embeddings

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        return self.inner.terms(embeddings, batch)

    def after_step(self, step: Step) -> None:
        self.progress.append(step.progress)


def run_in(folder: Path, **changes: Any) -> TrainingRun:
    """Return a run of an epoch on batches of 20; what is given is of `Training`, but for `run`."""
    settings = {
        "epochs": 1, "batch_size": 20, "image_size": 12, "precision": "float32", "optimizer": "sgd",
        "lr": 0.05, "weight_decay": 0.0, "momentum": 0.9, "warmup_epochs": 0.0,
    }  # fmt: skip
    run: dict[str, Any] = changes.pop("run", {})
    folder.mkdir(exist_ok=True)
    return TrainingRun(
        what="the run", training=Training(**{**settings, **changes}), views=(VIEW, VIEW),
        mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3), seed=0, device=torch.device("cpu"), folder=folder, **run,
    )  # fmt: skip


def gradients(method: Method, folder: Path, images: Images = BATCH, **changes: Any) -> dict[str, Tensor]:
    """Train, and return the gradients of the last step."""
    pretrain(method, images, run_in(folder, **changes))
    return {name: p.grad for name, p in method.named_parameters() if p.grad is not None}


def apart(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> float:
    """Return the largest relative difference of two gradients, each parameter by itself."""
    assert found.keys() == wanted.keys()
    differences = {name: (found[name] - wanted[name]).detach().norm() for name in wanted}
    return max(float(difference / wanted[name].detach().norm()) for name, difference in differences.items())


def lines(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


# ---- chunks


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


# ---- accumulated batches


def test_accumulated_batches_give_the_mean_of_their_gradients(tmp_path: Path) -> None:
    images = IMAGES.take(torch.arange(40))
    watching, fresh = Watching(method_of("simclr")), method_of("simclr")
    found = gradients(watching, tmp_path, images, accumulate=2)
    for views, batch in zip(watching.views, watching.batches, strict=True):
        terms = fresh.terms(fresh.embed(views, batch), batch)
        (terms["contrastive"] / 2).backward()
    wanted = {f"inner.{name}": p.grad for name, p in fresh.named_parameters() if p.grad is not None}
    found = {name.replace("backbone", "inner.backbone", 1) if name.startswith("backbone") else name: grad
             for name, grad in found.items()}  # fmt: skip

    assert len(watching.views) == 2
    assert apart(found, wanted) < 1e-6


def test_accumulated_batches_are_not_a_large_batch_and_chunks_are(tmp_path: Path) -> None:
    images = IMAGES.take(torch.arange(40))
    ways = {"large": {}, "chunked": {"chunk_size": 20}, "accumulated": {"batch_size": 20, "accumulate": 2}}
    found = {
        name: gradients(exact("simclr"), tmp_path / name, images, **{"batch_size": 40, **way})
        for name, way in ways.items()
    }
    loss = {name: lines(tmp_path / name)[0]["loss"] for name in ways}

    assert loss["chunked"] == pytest.approx(loss["large"], rel=1e-6)
    assert loss["accumulated"] < loss["large"] - 0.5  # 39 others in the place of 79
    assert apart(found["chunked"], found["large"]) < 1e-6
    assert apart(found["accumulated"], found["large"]) > 1e-2


def test_accumulated_batches_may_be_in_chunks(tmp_path: Path) -> None:
    settings = {"accumulate": 2, "epochs": 2}
    whole = gradients(exact("vicreg"), tmp_path, IMAGES, **settings)
    chunked = gradients(exact("vicreg"), tmp_path, IMAGES, chunk_size=6, **settings)

    assert apart(chunked, whole) < 1e-6


def test_every_batch_of_a_step_has_views_of_its_own(tmp_path: Path) -> None:
    watching = Watching(method_of("simclr"))
    pretrain(watching, IMAGES.take(torch.zeros(40, dtype=torch.int64)), run_in(tmp_path, accumulate=2))
    first, second = (views[0] for views in watching.views)

    assert not torch.equal(first, second)


def test_steps_are_those_of_the_optimiser_and_what_is_left_for_half_a_step_is_dropped(tmp_path: Path) -> None:
    watching = Watching(method_of("simclr"))
    pretrain(watching, IMAGES, run_in(tmp_path, batch_size=9, accumulate=2, epochs=3))
    index = torch.cat([batch.index for batch in watching.batches[:4]])

    assert [line["step"] for line in lines(tmp_path)] == [2, 4, 6]
    assert watching.progress == pytest.approx([step / 6 for step in range(6)])
    assert [len(batch.index) for batch in watching.batches] == [9] * 12
    assert len(index.unique()) == 36


def test_the_learning_rate_is_of_the_images_of_a_step() -> None:
    def lr(name: str, **settings: Any) -> float:
        recipe = REGISTRY.load_class("methods", name).recipe
        return resolve(recipe, build(TrainConfig, settings, "train"), 32, "float32").lr

    assert lr("simclr", batch_size=64, accumulate=4) == lr("simclr", batch_size=256)
    assert lr("supervised", batch_size=64, accumulate=4) == lr("supervised", batch_size=256)
    assert lr("simclr", batch_size=256, chunk_size=64) == lr("simclr", batch_size=256)


# ---- stopped and resumed


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


# ---- how chunks are cut, and what a key says


@pytest.mark.parametrize(
    ("batch", "asked", "sizes"),
    [
        (4096, 256, [256] * 16),
        (20, 7, [7, 7, 6]),
        (256, 200, [128, 128]),
        (9, 8, [5, 4]),
        (5, 2, [3, 2]),
        (3, 2, [3]),
        (9, 2, [3, 3, 3]),
        (20, 20, [20]),
        (20, 400, [20]),
        (20, None, [20]),
    ],
)
def test_chunks_are_even_and_none_is_of_one_image(batch: int, asked: int | None, sizes: list[int]) -> None:
    rows = even_chunks(batch, even_chunk(batch, asked))

    assert sorted((row.stop - row.start for row in rows), reverse=True) == sizes
    assert torch.cat([torch.arange(batch)[row] for row in rows]).tolist() == list(range(batch))


def test_only_what_is_set_is_in_the_key(lab: Lab) -> None:
    def key(**settings: Any) -> str:
        told = {f"train.{name}": value for name, value in {"batch_size": 16, **settings}.items()}
        return lab.plan(told, method="simclr")[0].keys.backbone

    assert {key(), key(accumulate=1), key(chunk_size=16), key(chunk_size=99)} == {key()}
    assert len({key(), key(chunk_size=8), key(chunk_size=4), key(accumulate=2)}) == 4
    assert key(chunk_size=12) == key(chunk_size=8)  # two chunks of eight, either way


def test_a_training_without_either_says_what_it_always_said() -> None:
    recipe = REGISTRY.load_class("methods", "simclr").recipe
    plain = resolve(recipe, build(TrainConfig, {}, "train"), 32, "float32")
    large = replace(plain, chunk_size=64, accumulate=2)

    assert list(plain.key_fields()) == [
        *("epochs", "batch_size", "image_size", "precision", "optimizer", "lr", "weight_decay", "momentum"),
        "warmup_epochs",
    ]
    assert large.key_fields() == {**plain.key_fields(), "chunk_size": 64, "accumulate": 2}


@pytest.mark.parametrize("settings", [{"train.chunk_size": 4}, {"train.accumulate": 2}])
def test_a_large_batch_is_run_and_recorded(lab: Lab, settings: dict[str, Any]) -> None:
    cells = lab.plan({"train.batch_size": 16, **settings}, method="simclr", evaluator="knn")
    (outcome,) = lab.run(cells)
    ((name, value),) = settings.items()
    estimate = estimate_seconds(cells[0], lab.datasets, lab.registry, torch.device("cpu"))

    assert outcome["status"] == "ok"
    assert outcome["config"]["training"][name.removeprefix("train.")] == value
    assert estimate is not None


# ---- what is refused


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train.chunk_size": 1}, r"^train.chunk_size: 1 is out of range. Use at least 2\.$"),
        ({"train.accumulate": 0}, r"^train.accumulate: 0 is out of range. Use at least 1\.$"),
        (
            {"train.batch_size": 16, "train.accumulate": 4, "train.chunk_size": 8},
            r"^train.accumulate: a step takes 4 batches of 16 images, but digits has 48 to train on\. Set",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_line(lab: Lab, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(BadValue, match=message):
        lab.plan(settings, method="simclr")


def test_embeddings_that_are_not_a_row_an_image_are_refused(tmp_path: Path) -> None:
    class Joined(TwoLevels):
        def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
            return {"both": self.backbone(torch.cat(list(views)))}

    with pytest.raises(ValueError, match=r"^embed\(\): both has 14 rows for 7 images\. Return a row an"):
        pretrain(Joined(), BATCH, run_in(tmp_path, chunk_size=7))

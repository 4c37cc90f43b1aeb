"""The training loop: what a method is given, what is written down, and that stopping changes nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.augmentation.view import View
from bench.contracts.dataset import DatasetInfo, Images
from bench.contracts.method import Batch, Embeddings, Method, Step
from bench.contracts.recipe import Training
from bench.errors import BadValue, Diverged
from bench.evaluation.features import extract
from bench.metrics.collapse import embedding_std, rankme
from bench.pretraining import checkpoint
from bench.pretraining import loop as pretrain
from bench.pretraining.online_knn import KnnSample, knn_monitors
from bench.pretraining.training_run import TrainingRun
from bench.registry.registry import Registry

INFO = DatasetInfo(classes=("a", "b"), channels=3, size=8)
VIEW = View(crop_min=0.5)
TIMES = ("seconds", "images_per_s")
IMAGES = Images(
    torch.randint(0, 256, (45, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)),
    torch.arange(45) % 2,
)


class Stopped(Exception):
    """Stands for the end of a process."""


def net() -> nn.Module:
    """Return a network with everything that has a state: convolutions, a norm, dropout."""
    return nn.Sequential(
        *(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.2)),
        *(nn.Conv2d(4, 6, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    )


def simclr(seed: int = 0) -> Method:
    torch.manual_seed(seed)
    cls: Any = Registry.load().load_class("methods", "simclr")
    method: Method = cls(net(), 6, cls.Config(hidden_dim=16, embedding_dim=8), INFO)
    return method


@dataclass
class Watched:
    """What a method saw."""

    views: list[Tensor]
    autocast: list[bool]
    dtypes: list[torch.dtype]
    progress: list[float]
    batches: list[Batch]


class Watching(Method):
    """A method that keeps what it is given; a term becomes nan at step `nan_at`."""

    def __init__(self, nan_at: int = 0) -> None:
        torch.manual_seed(0)
        super().__init__(net(), 6, None, INFO)
        self.seen, self.nan_at = Watched([], [], [], [], []), nan_at

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        self.seen.views += views
        self.seen.batches.append(batch)
        self.seen.autocast.append(torch.is_autocast_enabled("cpu"))
        return {"first": self.backbone(views[0]), "second": self.backbone(views[-1])}

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        self.seen.autocast.append(torch.is_autocast_enabled("cpu"))
        self.seen.dtypes += [z.dtype for z in embeddings.values()]
        broken = math.nan if len(self.seen.batches) == self.nan_at else 0.5
        return {"pull": embeddings["first"].square().mean(), "push": broken * embeddings["second"].mean()}

    def monitors(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        return {"largest": embeddings["first"].max()}

    def after_step(self, step: Step) -> None:
        self.seen.progress.append(step.progress)


def run_in(folder: Path, **changes: Any) -> TrainingRun:
    """Return a run of 3 epochs of 2 steps; what is given of `Training` goes there."""
    training = Training(
        epochs=3, batch_size=20, image_size=12, precision="float32", optimizer="sgd", lr=0.05,
        weight_decay=1e-3, momentum=0.9, warmup_epochs=0.5,
    )  # fmt: skip
    trained = {name: changes.pop(name) for name in list(changes) if hasattr(training, name)}
    folder.mkdir(exist_ok=True)
    run = TrainingRun(
        what="the run", training=replace(training, **trained), views=(VIEW, VIEW), mean=(0.4, 0.5, 0.6),
        std=(0.2, 0.25, 0.3), seed=0, device=torch.device("cpu"), folder=folder,
    )  # fmt: skip
    return replace(run, **changes)


def lines(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def untimed(folder: Path) -> list[dict[str, float]]:
    return [{name: value for name, value in line.items() if name not in TIMES} for line in lines(folder)]


def stop_at(epoch: int) -> Callable[[int, Mapping[str, float]], None]:
    def stop(done: int, metrics: Mapping[str, float]) -> None:
        if done == epoch:
            raise Stopped

    return stop


def same(one: nn.Module, other: nn.Module) -> bool:
    states = one.state_dict(), other.state_dict()
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


# ---- stopped and resumed


@pytest.mark.parametrize("optimizer", ["lars", "sgd", "adamw"])
@pytest.mark.parametrize("stop", [2, 3])
def test_a_run_that_was_stopped_is_bitwise_the_one_that_was_not(
    tmp_path: Path, optimizer: str, stop: int
) -> None:
    settings = {"optimizer": optimizer, "epochs": 4, "lr": 0.01}
    whole, first, second = simclr(), simclr(), simclr(seed=1)
    pretrain.pretrain(whole, IMAGES, run_in(tmp_path / "whole", **settings))
    parts = run_in(tmp_path / "parts", checkpoint_every_s=0.0, **settings)
    with pytest.raises(Stopped):
        pretrain.pretrain(first, IMAGES, replace(parts, on_epoch=stop_at(stop)))
    done = checkpoint_epochs(tmp_path / "parts", settings)
    torch.manual_seed(1234)  # no draw depends on what was drawn before
    pretrain.pretrain(second, IMAGES, parts)

    assert done == stop - 1
    assert same(whole, second)
    assert not same(whole, first)
    assert untimed(tmp_path / "parts") == untimed(tmp_path / "whole")


def checkpoint_epochs(folder: Path, settings: Mapping[str, Any]) -> int:
    method = simclr()
    loop = pretrain.TrainingLoop(method, IMAGES, run_in(folder, **settings))
    return checkpoint.resume(folder, method, loop.stepper.optimizer, loop.stepper.scaler)[0]


def test_a_run_that_was_stopped_before_its_first_checkpoint_begins_again(tmp_path: Path) -> None:
    whole, again = simclr(), simclr()
    pretrain.pretrain(whole, IMAGES, run_in(tmp_path / "whole"))
    with pytest.raises(Stopped):
        pretrain.pretrain(simclr(), IMAGES, run_in(tmp_path / "parts", on_epoch=stop_at(2)))
    pretrain.pretrain(again, IMAGES, run_in(tmp_path / "parts"))

    assert same(whole, again)
    assert untimed(tmp_path / "parts") == untimed(tmp_path / "whole")


def test_a_half_written_line_is_cut_off(tmp_path: Path) -> None:
    parts = run_in(tmp_path, checkpoint_every_s=0.0)
    with pytest.raises(Stopped):
        pretrain.pretrain(simclr(), IMAGES, replace(parts, on_epoch=stop_at(2)))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 3, "lo')
    pretrain.pretrain(simclr(), IMAGES, parts)

    assert [line["epoch"] for line in lines(tmp_path)] == [1, 2, 3]


def test_the_time_of_all_processes_counts(tmp_path: Path) -> None:
    parts = run_in(tmp_path, checkpoint_every_s=0.0)
    with pytest.raises(Stopped):
        pretrain.pretrain(simclr(), IMAGES, replace(parts, on_epoch=stop_at(3)))
    spent = pretrain.pretrain(simclr(), IMAGES, parts)

    assert spent.seconds == pytest.approx(sum(line["seconds"] for line in lines(tmp_path)))
    assert spent.images_per_s >= 3 * 40 / spent.seconds  # the monitors' time is no training's


def test_the_speed_is_that_of_all_images_in_the_time_of_all_epochs(tmp_path: Path) -> None:
    spent = pretrain.pretrain(simclr(), IMAGES, run_in(tmp_path))

    assert spent.images_per_s == pytest.approx(
        120 / sum(40 / line["images_per_s"] for line in lines(tmp_path))
    )


def test_a_finished_run_leaves_its_metrics_and_no_checkpoint(tmp_path: Path) -> None:
    pretrain.pretrain(simclr(), IMAGES, run_in(tmp_path, checkpoint_every_s=0.0))

    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


# ---- seeds


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


# ---- what a method is given


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


# ---- what is written down


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


# ---- the neighbours' vote


def voters(count: int) -> KnnSample:
    """Return a sample of so many images in the bank, and two queries."""
    return KnnSample(IMAGES.take(torch.arange(count)), IMAGES.take(torch.tensor([43, 44])))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_vote_changes_nothing_in_the_training(tmp_path: Path, precision: str) -> None:
    watched, alone = simclr(), simclr()
    settings = {"precision": precision, "epochs": 4}
    pretrain.pretrain(watched, IMAGES, run_in(tmp_path / "watched", knn=voters(2), **settings))
    pretrain.pretrain(alone, IMAGES, run_in(tmp_path / "alone", **settings))
    votes = ("online_knn_top1", "h_std", "h_rankme")

    assert all(set(votes) < set(line) for line in lines(tmp_path / "watched"))
    assert same(watched, alone)
    assert [
        {name: value for name, value in line.items() if name not in votes}
        for line in untimed(tmp_path / "watched")
    ] == untimed(tmp_path / "alone")


def test_a_watched_run_that_was_stopped_is_bitwise_the_one_that_was_not(tmp_path: Path) -> None:
    whole, second = simclr(), simclr(seed=1)
    settings = {"epochs": 5, "knn": voters(7)}
    pretrain.pretrain(whole, IMAGES, run_in(tmp_path / "whole", **settings))
    parts = run_in(tmp_path / "parts", checkpoint_every_s=0.0, **settings)
    with pytest.raises(Stopped):
        pretrain.pretrain(simclr(), IMAGES, replace(parts, on_epoch=stop_at(3)))
    pretrain.pretrain(second, IMAGES, parts)

    assert same(whole, second)
    assert untimed(tmp_path / "parts") == untimed(tmp_path / "whole")


@pytest.mark.parametrize(("count", "epochs"), [(2, [1, 2, 3, 4, 5]), (7, [2, 4, 5]), (43, [5])])
def test_the_vote_is_every_few_epochs_and_after_the_last(
    tmp_path: Path, count: int, epochs: list[int]
) -> None:
    pretrain.pretrain(simclr(), IMAGES, run_in(tmp_path, epochs=5, knn=voters(count)))

    assert [line["epoch"] for line in lines(tmp_path) if "online_knn_top1" in line] == epochs


def test_the_vote_is_on_clean_images_in_eval_mode(tmp_path: Path) -> None:
    method, sample = simclr(), KnnSample(IMAGES.take(torch.arange(30)), IMAGES.take(torch.arange(30, 45)))
    run = run_in(tmp_path, knn=sample)
    pretrain.pretrain(method, IMAGES, run)

    def features(pixels: Tensor) -> Tensor:
        about = {"mean": run.mean, "std": run.std, "device": run.device}
        return torch.cat(list(extract(method.backbone, pixels, image_size=12, channels=3, **about)))

    line, h = lines(tmp_path)[-1], features(sample.queries.pixels)
    expected = {"h_std": float(embedding_std(h)), "h_rankme": float(rankme(h))}
    expected["online_knn_top1"] = float(knn_monitors(sample, features)["online_knn_top1"])

    assert {name: line[name] for name in expected} == pytest.approx(expected, rel=1e-4)
    assert list(line)[-5:] == ["online_knn_top1", "h_std", "h_rankme", *reversed(TIMES)]


# ---- what is refused


@pytest.mark.parametrize("step", [1, 4])
def test_a_loss_that_is_not_finite_names_its_step_and_its_terms(tmp_path: Path, step: int) -> None:
    pattern = rf"^the run: the loss became nan at step {step} \(pull [\d.e-]+, push nan\)\. Lower train\.lr"
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

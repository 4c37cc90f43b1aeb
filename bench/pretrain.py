"""The one training loop: every method goes through it, in two stages with the harness between."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench import checkpoint
from bench.collapse import embedding_std, rankme
from bench.contract import Batch, Embeddings, Images, Method
from bench.errors import Diverged
from bench.keys import seed_of
from bench.monitors import KnnSample, evaluating, knn_interval, knn_monitors
from bench.optim import build_optimizer, lr_factor, set_lr
from bench.progress import Progress
from bench.recipe import Training, too_few
from bench.views import View, augment, normalise, resize

READ_EVERY_S = 1.0  # between looks at the loss: a look makes the device wait
RANK_ROWS = 512  # of a batch, for RankMe: its cost grows with the cube of them
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a pretraining is told beside its method and images.

    Args:
        what: how progress and errors name it.
        training: resolved.
        views: resolved, one a view.
        mean: of the training data, a value a channel.
        std: of the training data, a value a channel.
        seed: of every draw.
        device: where to train.
        folder: where metrics and checkpoints go.
        on_epoch: called with (epoch, metrics) at the end of each.
        checkpoint_every_s: at least so many seconds between checkpoints.
        live: this process has the terminal to itself, and may draw on it.
        knn: what is classified every few epochs, if there are labels; its pixels may stay on the CPU.
    """

    what: str
    training: Training
    views: tuple[View, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    seed: int
    device: torch.device
    folder: Path
    on_epoch: Callable[[int, Mapping[str, float]], None] = field(default=lambda _epoch, _metrics: None)
    checkpoint_every_s: float = 60.0
    live: bool = True
    knn: KnnSample | None = None


@dataclass(frozen=True)
class Spent:
    """What a pretraining cost, over all processes that worked on it.

    Args:
        seconds: of training and its monitors.
        images_per_s: training images a second, an image counted once however many views it gives,
            while no monitor was at work.
    """

    seconds: float
    images_per_s: float


def pretrain(method: Method, images: Images, run: Run) -> Spent:
    """Train `method` on `images`, from where an earlier process was stopped if one was.

    Writes `metrics.jsonl`, a line an epoch, into the run's folder.

    Args:
        method: on the run's device, freshly initialised.
        images: the training split, on the run's device.
        run: everything else.

    Raises:
        BadValue: there are fewer images than a batch takes.
        Diverged: a term of the loss is not finite.
    """
    training = run.training
    if len(images) < training.batch_size:
        raise too_few(training.batch_size, len(images))
    loop = Loop(method, images, run)
    first, seconds = checkpoint.resume(run.folder, method, loop.optimizer, loop.scaler)
    keep_lines(run.folder / "metrics.jsonl", first)
    per_epoch = loop.steps * training.batch_size
    total, done = per_epoch * training.epochs, per_epoch * first
    progress = Progress(run.what, training.epochs, total, done, live=run.live)
    saved = time.monotonic()
    method.train()
    try:
        for epoch in range(first, training.epochs):
            metrics = loop.epoch(epoch, progress)
            seconds += metrics["seconds"]
            _append(run.folder / "metrics.jsonl", metrics)
            run.on_epoch(epoch + 1, metrics)
            if time.monotonic() - saved > run.checkpoint_every_s and epoch + 1 < training.epochs:
                checkpoint.save(run.folder, method, loop.optimizer, loop.scaler, epoch + 1, seconds)
                saved = time.monotonic()
    finally:
        progress.close()
    checkpoint.forget(run.folder)
    lines = (run.folder / "metrics.jsonl").read_text().splitlines()
    return Spent(seconds, statistics.harmonic_mean(json.loads(line)["images_per_s"] for line in lines))


class Loop:
    """The state of a pretraining, an epoch at a time."""

    def __init__(self, method: Method, images: Images, run: Run) -> None:
        self.method, self.images, self.run = method.to(memory_format=torch.channels_last), images, run
        self.steps = len(images) // run.training.batch_size  # the last, smaller batch is dropped
        self.optimizer = build_optimizer(method, run.training)
        self.scaler = torch.amp.GradScaler(run.device.type, enabled=run.training.precision == "float16")

    def epoch(self, epoch: int, progress: Progress) -> dict[str, float]:
        """Train on every image once and return the epoch's line of `metrics.jsonl`.

        Args:
            epoch: counted from 0.
            progress: told of every step.
        """
        started = time.monotonic()
        meter = Meter(self.run.what, first=epoch * self.steps)
        batch_size = self.run.training.batch_size
        last: tuple[Embeddings, Batch] | None = None
        for step, index in enumerate(self._batches(epoch)):
            lr = self._set_lr(epoch * self.steps + step)
            batch = Batch(index, self.images.labels[index])
            embeddings, terms = self._step(self._views(index, epoch, step), batch, epoch, step)
            self.method.after_step((epoch * self.steps + step + 1) / (self.steps * self.run.training.epochs))
            meter.add(terms)
            progress.step(epoch + 1, step + 1, batch_size, meter.latest)
            last = (embeddings, batch)
        means = meter.close()
        trained = time.monotonic() - started
        progress.epoch_end(epoch + 1, means)
        return {
            "epoch": epoch + 1,
            "step": (epoch + 1) * self.steps,
            "lr": lr,
            "loss": sum(means.values()),
            **means,
            **(self._monitors(epoch, *last) if last else {}),
            "images_per_s": self.steps * batch_size / max(trained, 1e-9),
            "seconds": time.monotonic() - started,
        }

    def _batches(self, epoch: int) -> Iterator[Tensor]:
        generator = torch.Generator().manual_seed(seed_of(self.run.seed, "shuffle", epoch))
        order = torch.randperm(len(self.images), generator=generator).to(self.run.device)
        size = self.run.training.batch_size
        return (order[i * size : (i + 1) * size] for i in range(self.steps))

    def _set_lr(self, step: int) -> float:
        training = self.run.training
        steps, warmup = self.steps * training.epochs, training.warmup_epochs * self.steps
        lr = training.lr * lr_factor(step, steps, warmup)
        set_lr(self.optimizer, lr)
        return lr

    def _views(self, index: Tensor, epoch: int, step: int) -> list[Tensor]:
        run, pixels = self.run, self.images.pixels[index]
        views = []
        for number, view in enumerate(run.views):
            generator = torch.Generator().manual_seed(seed_of(run.seed, "views", epoch, step, number))
            x = augment(pixels, view, run.training.image_size, generator)
            views.append(normalise(x, run.mean, run.std))
        return views

    def _step(
        self, views: list[Tensor], batch: Batch, epoch: int, step: int
    ) -> tuple[Embeddings, dict[str, Tensor]]:
        torch.manual_seed(seed_of(self.run.seed, "dropout", epoch, step))
        with self._autocast():
            embeddings = self.method.embed(views, batch)
        embeddings = {name: z.float() for name, z in embeddings.items()}
        terms = self.method.terms(embeddings, batch)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(torch.stack(list(terms.values())).sum()).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return (
            {name: z.detach() for name, z in embeddings.items()},
            {name: term.detach() for name, term in terms.items()},
        )

    def _autocast(self) -> torch.autocast:
        dtype = DTYPES[self.run.training.precision]
        return torch.autocast(self.run.device.type, dtype, enabled=dtype != torch.float32)

    # ---- monitors

    @torch.no_grad()
    def _monitors(self, epoch: int, embeddings: Embeddings, batch: Batch) -> dict[str, float]:
        """Return what is watched: on the epoch's last batch, and every few epochs on the sample."""
        z = next(iter(embeddings.values()))
        found = {"z_std": embedding_std(z), "z_rankme": rankme(z[:RANK_ROWS])}
        found |= self.method.monitors(embeddings, batch)
        if (sample := self._due(epoch)) is not None:
            with evaluating(self.method.backbone):
                found |= knn_monitors(sample, self._features)
        return {name: float(value) for name, value in found.items()}

    def _due(self, epoch: int) -> KnnSample | None:
        """Return the sample if it is to be classified after `epoch`: every few, and after the last."""
        run, images = self.run, self.steps * self.run.training.batch_size
        if run.knn is None:
            return None
        every = knn_interval(len(run.knn), images, max(1, len(run.views)))
        return run.knn if (epoch + 1) % every == 0 or epoch + 1 == run.training.epochs else None

    def _features(self, pixels: Tensor) -> Tensor:
        """Return the features (n, dim) of clean images (n, channels, h, w), in chunks of a batch."""
        run, rows = self.run, []
        for chunk in pixels.split(run.training.batch_size):
            x = normalise(resize(chunk.to(run.device), run.training.image_size), run.mean, run.std)
            with self._autocast():
                rows.append(self.method.backbone(x).float())
        return torch.cat(rows)


class Meter:
    """The terms of an epoch, read from the device late and seldom.

    Args:
        what: how an error names the run.
        first: the number of the epoch's first step in the run.
    """

    def __init__(self, what: str, first: int) -> None:
        self.what, self.first = what, first
        self.names: list[str] = []
        self.waiting: list[Tensor] = []
        self.rows: list[Tensor] = []
        self.latest: dict[str, float] = {}
        self.read_at = time.monotonic()

    def add(self, terms: Mapping[str, Tensor]) -> None:
        """Take the terms of one more step."""
        self.names = list(terms)
        self.waiting.append(torch.stack([term.float() for term in terms.values()]))
        if not self.latest or time.monotonic() - self.read_at > READ_EVERY_S:
            self._read()

    def close(self) -> dict[str, float]:
        """Return each term's mean over the epoch."""
        self._read()
        means = torch.cat(self.rows).mean(dim=0).tolist()
        return dict(zip(self.names, means, strict=True))

    def _read(self) -> None:
        if not self.waiting:
            return
        rows = torch.stack(self.waiting).double().cpu()
        start = self.first + sum(map(len, self.rows))
        broken = (~torch.isfinite(rows)).any(dim=1).nonzero()
        if len(broken):
            at = int(broken[0])
            values = zip(self.names, rows[at].tolist(), strict=True)
            said = ", ".join(f"{name} {value:.3g}" for name, value in values)
            raise Diverged(
                f"{self.what}: the loss became {float(rows[at].sum())} at step {start + at + 1} "
                f"({said}). Lower train.lr or use --precision float32."
            )
        self.latest = dict(zip(self.names, rows[-1].tolist(), strict=True))
        self.rows.append(rows)
        self.waiting, self.read_at = [], time.monotonic()


def keep_lines(path: Path, count: int) -> None:
    """Cut a file to its first `count` lines: what was logged after the checkpoint is done again."""
    if path.exists():
        lines = path.read_text().splitlines(keepends=True)[:count]
        path.write_text("".join(lines))


def _append(path: Path, metrics: Mapping[str, Any]) -> None:
    with path.open("a") as file:
        file.write(json.dumps(dict(metrics)) + "\n")

"""The one training loop: every method goes through it, in two stages with the harness between."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import chain, islice
from typing import Any

import torch
from torch import Tensor

from bench.augmentation.clean import normalise, resize
from bench.contracts.dataset import FileStream, Images
from bench.contracts.method import Batch, Embeddings, Method, Step
from bench.contracts.recipe import too_few_images
from bench.keys import seed_of
from bench.metrics.collapse import embedding_std, rankme
from bench.pretraining import checkpoint
from bench.pretraining.batches import plan_batches
from bench.pretraining.epoch_log import append_line, keep_lines
from bench.pretraining.gradient_cache import cached_gradient, even_chunks
from bench.pretraining.loss_meter import LossMeter
from bench.pretraining.online_knn import KnnSample, eval_mode, knn_interval, knn_monitors
from bench.pretraining.optimizers import build_optimizer
from bench.pretraining.prefetch import ReadyBatch, open_side_stream
from bench.pretraining.schedules import lr_factor, set_lr
from bench.pretraining.training_run import TrainingCost, TrainingRun
from bench.pretraining.view_sources import open_view_source
from bench.system.compile import compile_or_warn
from bench.system.device import to_device
from bench.system.profiler import mark
from bench.system.progress import Progress

RANK_ROWS = 512  # of a batch, for RankMe: its cost grows with the cube of them
Seen = tuple[Embeddings, Batch]  # of the last batch, for the monitors
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def pretrain(method: Method, images: Images | FileStream, run: TrainingRun) -> TrainingCost:
    """Train `method` on `images`, from where an earlier process was stopped if one was.

    Writes `metrics.jsonl`, a line an epoch, into the run's folder.

    Args:
        method: on the run's device, freshly initialised.
        images: the training split, on the run's device or, a batch being sent at a time, on the CPU; or
            its files, decoded meanwhile.
        run: everything else.

    Raises:
        BadValue: there are fewer images than a step takes.
        BadData: a file cannot be decoded.
        Diverged: a term of the loss is not finite.
    """
    training = run.training
    loop = TrainingLoop(method, images, run)
    if not loop.steps:
        raise too_few_images(training.batch_size, len(loop.rows), accumulate=training.accumulate)
    first, seconds = checkpoint.resume(run.folder, method, loop.optimizer, loop.scaler)
    keep_lines(run.folder / "metrics.jsonl", first)
    per_epoch = loop.steps * training.step_images
    total, done = per_epoch * training.epochs, per_epoch * first
    progress = Progress(run.what, training.epochs, total, done, live=run.live)
    saved = time.monotonic()
    run.on_start(first)
    method.train()
    try:
        for epoch in range(first, training.epochs):
            metrics = loop.epoch(epoch, progress)
            seconds += metrics["seconds"]
            append_line(run.folder / "metrics.jsonl", metrics)
            run.on_epoch(epoch + 1, metrics)
            if time.monotonic() - saved > run.checkpoint_every_s and epoch + 1 < training.epochs:
                checkpoint.save(run.folder, method, loop.optimizer, loop.scaler, epoch + 1, seconds)
                saved = time.monotonic()
    finally:
        progress.close()
        loop.supply.close()
    checkpoint.forget(run.folder)
    lines = (run.folder / "metrics.jsonl").read_text().splitlines()
    return TrainingCost(seconds, statistics.harmonic_mean(json.loads(line)["images_per_s"] for line in lines))


class TrainingLoop:
    """The state of a pretraining, an epoch at a time."""

    def __init__(self, method: Method, images: Images | FileStream, run: TrainingRun) -> None:
        self.method, self.images, self.run = method.to(memory_format=torch.channels_last), images, run
        if run.training.compile:
            compile_or_warn(method.backbone)
        self.rows = torch.arange(len(images)) if run.rows is None else run.rows
        self.steps = len(self.rows) // run.training.step_images  # what is left for a smaller one is dropped
        self.batches = partial(plan_batches, self.rows, run, images.labels.device)
        self.supply = open_view_source(images, run, self.batches)
        self.chunks = even_chunks(run.training.batch_size, run.training.chunk_size)
        self.side = open_side_stream(run.device, len(self.chunks))
        self.optimizer = build_optimizer(method, run.training)
        self.scaler = torch.amp.GradScaler(run.device.type, enabled=run.training.precision == "float16")

    def epoch(self, epoch: int, progress: Progress) -> dict[str, float]:
        """Train on every image once and return the epoch's line of `metrics.jsonl`.

        Args:
            epoch: counted from 0.
            progress: told of every step.
        """
        started = time.monotonic()
        meter = LossMeter(self.run.what, first=epoch * self.steps)
        step_images = self.run.training.step_images
        ready = self.ready(epoch)
        for step in range(self.steps):
            lr = self._set_lr(epoch * self.steps + step)
            last, terms = self.step(islice(ready, self.run.training.accumulate), epoch)
            self.method.after_step(self._step(epoch, step))
            meter.add(terms)
            progress.step(epoch + 1, step + 1, step_images, meter.latest)
            self.run.on_step(epoch * self.steps + step + 1, meter.latest)
        means = meter.close()
        trained = time.monotonic() - started
        progress.epoch_end(epoch + 1, means)
        return {
            "epoch": epoch + 1,
            "step": (epoch + 1) * self.steps,
            "lr": lr,
            "loss": sum(means.values()),
            **means,
            **self._monitors(epoch, *last),
            "images_per_s": self.steps * step_images / max(trained, 1e-9),
            "seconds": time.monotonic() - started,
        }

    def _step(self, epoch: int, step: int) -> Step:
        """Return where a step of an epoch stands in the training."""
        epochs = self.run.training.epochs
        return Step(number=epoch * self.steps + step, total=self.steps * epochs, epoch=epoch, epochs=epochs)

    def ready(self, epoch: int) -> Iterator[ReadyBatch]:
        """Yield the batches of all steps in turn, with views made ahead where the device allows."""
        batches = enumerate(chain.from_iterable(self.batches(epoch)))
        items = (
            ReadyBatch(number, self._batch(index), self.supply.views(index, epoch, number))
            for number, index in batches
        )
        return self.side.prefetch(items) if self.side else items

    def _batch(self, index: Tensor) -> Batch:
        """Return what belongs to a batch, on the run's device."""
        return Batch(to_device(index, self.run.device), to_device(self.images.labels[index], self.run.device))

    def _set_lr(self, step: int) -> float:
        training = self.run.training
        steps, warmup = self.steps * training.epochs, training.warmup_epochs * self.steps
        lr = training.lr * lr_factor(step, steps, warmup)
        set_lr(self.optimizer, lr)
        return lr

    def step(self, batches: Iterable[ReadyBatch], epoch: int) -> tuple[Seen, dict[str, Tensor]]:
        """Take a step with the mean gradient; return what was seen last, and the mean terms."""
        self.optimizer.zero_grad(set_to_none=True)
        found = []
        for ready in batches:
            embeddings, terms = self._gradient(ready, epoch)
            found.append(terms)
        with mark("optimiser"):
            self.scaler.step(self.optimizer)
            self.scaler.update()
        means = {name: torch.stack([row[name] for row in found]).mean() for name in terms}
        return (embeddings, ready.batch), means

    def _gradient(self, ready: ReadyBatch, epoch: int) -> tuple[Embeddings, dict[str, Tensor]]:
        """Add the gradient of a batch of the epoch; return its embeddings and terms."""
        number, batch, views = ready.number, ready.batch, ready.views

        def embed(rows: slice) -> Embeddings:
            place = (epoch, number, rows.start) if rows.start else (epoch, number)
            some, part = views(rows), Batch(batch.index[rows], batch.labels[rows])
            torch.manual_seed(seed_of(self.run.seed, "dropout", *place))
            with mark("forward"), self._autocast():
                embeddings = self.method.embed(some, part)
            return {name: z.float() for name, z in embeddings.items()}

        def backward(embeddings: Embeddings) -> dict[str, Tensor]:
            with mark("terms"):
                terms = self.method.terms(embeddings, batch)
            loss = torch.stack(list(terms.values())).sum() / self.run.training.accumulate
            with mark("backward"):
                self.scaler.scale(loss).backward()
            return {name: term.detach() for name, term in terms.items()}

        if len(self.chunks) > 1:
            return cached_gradient(self.method, self.chunks, embed, backward)
        embeddings = embed(self.chunks[0])
        terms = backward(embeddings)
        return {name: z.detach() for name, z in embeddings.items()}, terms

    def _autocast(self) -> AbstractContextManager[Any]:
        dtype = DTYPES[self.run.training.precision]
        return nullcontext() if dtype == torch.float32 else torch.autocast(self.run.device.type, dtype)

    # ---- monitors

    @mark("monitors")
    @torch.no_grad()
    def _monitors(self, epoch: int, embeddings: Embeddings, batch: Batch) -> dict[str, float]:
        """Return what is watched: on the epoch's last batch, and every few epochs on the sample."""
        z = next(iter(embeddings.values()))
        found = {"z_std": embedding_std(z), "z_rankme": rankme(z[:RANK_ROWS])}
        found |= self.method.monitors(embeddings, batch)
        if (sample := self._due(epoch)) is not None:
            with eval_mode(self.method.backbone):
                found |= knn_monitors(sample, self._features)
        return {name: float(value) for name, value in found.items()}

    def _due(self, epoch: int) -> KnnSample | None:
        """Return the sample if it is to be classified after `epoch`: every few, and after the last."""
        run, images = self.run, self.steps * self.run.training.step_images
        if run.knn is None:
            return None
        every = knn_interval(len(run.knn), images, max(1, len(run.views)))
        return run.knn if (epoch + 1) % every == 0 or epoch + 1 == run.training.epochs else None

    def _features(self, pixels: Tensor) -> Tensor:
        """Return the features (n, dim) of clean images (n, channels, h, w), a chunk at a time."""
        run, rows = self.run, []
        for chunk in pixels.split(run.training.chunk_size or run.training.batch_size):
            x = normalise(resize(chunk.to(run.device), run.training.image_size), run.mean, run.std)
            with self._autocast():
                rows.append(self.method.backbone(x).float())
        return torch.cat(rows)

"""The one training loop: every method goes through it, in two stages with the harness between."""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import chain, islice
from typing import Any

import torch
from torch import Tensor

from bench.augmentation.clean import normalise, resize
from bench.augmentation.view import relative_cost
from bench.contracts.dataset import FileStream, Images
from bench.contracts.method import Batch, Method, Step
from bench.contracts.recipe import too_few_images
from bench.errors import CellError
from bench.keys import seed_of
from bench.metrics.collapse import embedding_std, rankme
from bench.nn.tiny_maps import skip_padding
from bench.pretraining.batches import plan_batches
from bench.pretraining.checkpoint import Checkpoint, EpochPart, TrainingProgress, cpu_state
from bench.pretraining.checkpoint_keeper import CheckpointKeeper, part_of
from bench.pretraining.epoch_log import append_line, write_lines
from bench.pretraining.loss_meter import LossMeter, advise_stability
from bench.pretraining.online_knn import KnnSample, eval_mode, knn_interval, knn_monitors
from bench.pretraining.passes import Passes, count_passes
from bench.pretraining.prefetch import ReadyBatch, open_side_stream
from bench.pretraining.step import Stepper, StepResult
from bench.pretraining.training_run import TrainingCost, TrainingRun
from bench.pretraining.view_sources import open_view_source
from bench.storage.artifact_files import METRICS
from bench.system.compile import compile_or_warn
from bench.system.device import threads_on, to_device, wait_for
from bench.system.profiler import mark
from bench.system.progress import Progress

logger = logging.getLogger("bench")

RANK_ROWS = 512  # of a batch, for RankMe: its cost grows with the cube of them
FIRST_PASS = -1  # the epoch whose order, views and draws the pass before the first epoch has


def pretrain(method: Method, images: Images | FileStream, run: TrainingRun) -> TrainingCost | None:
    """Train `method` on `images`, from where an earlier process was stopped if one was.

    Writes `metrics.jsonl`, a line an epoch, into the run's folder. Of ranks that train together each calls
    this alike, and the first alone writes, watches and returns the cost.

    Args:
        method: on the run's device, freshly initialised.
        images: the training split, on the run's device or, a batch being sent at a time, on the CPU; or
            its files, decoded meanwhile.
        run: everything else.

    Raises:
        BadValue: there are fewer images than a step takes.
        BadData: a file cannot be decoded.
        Diverged: a term of the loss is not finite.
        AskedToLeave: a signal came in a block that `bench.system.leaving.finishes`: what is done is kept.
        CellError: after an epoch, two ranks do not hold the same.
    """
    loop = TrainingLoop(method, images, run)
    if not loop.steps:
        raise too_few_images(run.training.batch_size, loop.epoch_images, accumulate=run.training.accumulate)
    try:
        if run.ranks.rank == 0:
            return loop.lead()
        loop.follow()
        return None
    finally:
        loop.view_source.close()


def _add_threads(before: tuple[int, ...], run: TrainingRun) -> tuple[int, ...]:
    """Return the numbers of threads of a training with this process's, and warn where they differ."""
    now = tuple(threads_on(run.device))
    if not before or now == before[-1:]:
        return before or now
    earlier = " and ".join(map(str, before))
    logger.warning(
        "%s: it was begun with %s threads and goes on with %s, so it is bitwise neither training. "
        "Use --threads %s for that.",
        run.what, earlier, *now, before[-1],
    )  # fmt: skip
    return before + now


def _add_devices(before: tuple[int, ...], run: TrainingRun) -> tuple[int, ...]:
    """Return the numbers of devices of a training with this run's, and warn where they differ."""
    now = (run.ranks.size,)
    if not before or now == before[-1:]:
        return before or now
    logger.warning(
        "%s: it was begun on %s devices and goes on with %s, so it is to rounding both trainings, and "
        "bitwise neither.",
        run.what, " and ".join(map(str, before)), *now,
    )  # fmt: skip
    return before + now


class TrainingLoop:
    """A pretraining, an epoch at a time.

    Args:
        method: on the run's device.
        images: as of `pretrain`.
        run: everything else.
    """

    def __init__(self, method: Method, images: Images | FileStream, run: TrainingRun) -> None:
        self.method, self.images, self.run = method.to(memory_format=torch.channels_last), images, run
        skip_padding(method)
        if run.training.compile:
            compile_or_warn(method.backbone)
        self.rows = torch.arange(len(images)) if run.rows is None else run.rows
        self.epoch_images = run.epoch_images or len(self.rows)
        self.steps = self.epoch_images // run.training.step_images  # what fills none is left out
        self.batches = partial(plan_batches, self.rows, run, images.labels.device)
        self.view_source = open_view_source(images, run, self.batches)
        self.stepper = Stepper(method, run)
        self.side = open_side_stream(run.device, len(self.stepper.chunks), run.ranks)
        self.passes: Passes | None = None  # of a step, once one was taken

    def lead(self) -> TrainingCost:
        """Train, and write what comes of it."""
        run, training, stepper = self.run, self.run.training, self.stepper
        checkpoint = Checkpoint(run.folder, run.key)
        log, threads, devices, part = checkpoint.resume(self.method, stepper.optimizer, stepper.scaler)
        threads, devices = _add_threads(threads, run), _add_devices(devices, run)
        first = len(log)
        write_lines(run.folder / METRICS, log)
        self._begin_alike((first, part.steps if part else 0))
        total, done = self.steps * training.epochs, self.steps * first + (part.steps if part else 0)
        size = training.step_images
        progress = Progress(run.what, training.epochs, total * size, done * size, live=run.live)

        def save(part: EpochPart | None) -> None:
            progressed = TrainingProgress(log, threads, devices, part)
            checkpoint.save(self.method, stepper.optimizer, stepper.scaler, progressed)

        keeper = CheckpointKeeper(run, save)
        run.on_start(first)
        self.method.train()
        try:
            for epoch in range(first, training.epochs):
                metrics = self.epoch(epoch, progress, keeper, part if epoch == first else None)
                log.append(metrics)
                append_line(run.folder / METRICS, metrics)
                run.on_epoch(epoch + 1, metrics)
                if epoch + 1 < training.epochs:
                    keeper.after_step(epoch + 2, lambda: None)
        finally:
            progress.close()
        checkpoint.forget()
        speeds = [metrics["images_per_s"] for metrics in log]
        seconds, speed = sum(metrics["seconds"] for metrics in log), statistics.harmonic_mean(speeds)
        return TrainingCost(seconds, speed, threads, devices, self.total_passes())

    def follow(self) -> None:
        """Train as the first of the ranks does, and write nothing."""
        first, done = self._begin_alike()
        self.method.train()
        for epoch in range(first, self.run.training.epochs):
            steps = done if epoch == first else 0
            if epoch == 0 and not steps:
                self._first_pass()
            for _ in self.steps_of(epoch, steps):
                pass
            self._refuse_difference(epoch)

    def epoch(
        self,
        epoch: int,
        progress: Progress,
        keeper: CheckpointKeeper | None = None,
        done: EpochPart | None = None,
    ) -> dict[str, float]:
        """Train on the images of an epoch and return its line of `metrics.jsonl`.

        Args:
            epoch: counted from 0.
            progress: is told of every step.
            keeper: is told of every step but the last, and may end the training there; none keeps nothing.
            done: what an earlier process did of it.

        Raises:
            AskedToLeave: a signal came, and a checkpoint was written.
        """
        before = done or EpochPart(0, 0.0, [], [])
        started = time.monotonic() - before.seconds
        if epoch == 0 and not done:
            self._first_pass()
        began = time.monotonic() - before.seconds
        advice, first = advise_stability(self.run.training), epoch * self.steps
        meter = LossMeter(self.run.what, advice, first, before.names, before.rows)
        step_images = self.run.training.step_images
        for number, result in self.steps_of(epoch, before.steps):
            meter.add(result.terms)
            progress.step(epoch + 1, number + 1, step_images, meter.latest)
            self.run.on_step(epoch * self.steps + number + 1, meter.latest)
            if keeper and number + 1 < self.steps:
                keeper.after_step(epoch + 1, partial(part_of, meter, number + 1, began))
        means = meter.close()
        wait_for(self.run.device)  # the losses are read before the last step is done
        seconds = time.monotonic() - began
        self._refuse_difference(epoch)
        progress.epoch_end(epoch + 1, means)
        return {
            "epoch": epoch + 1,
            "step": (epoch + 1) * self.steps,
            "lr": result.lr,
            "loss": sum(means.values()),
            **means,
            **self._monitors(epoch, result),
            "images_per_s": self.steps * step_images / max(seconds, 1e-9),
            "seconds": time.monotonic() - started,
        }

    def steps_of(self, epoch: int, first: int = 0) -> Iterator[tuple[int, StepResult]]:
        """Yield the number and the result of each step of an epoch, from the `first` on, as it is taken."""
        accumulate = self.run.training.accumulate
        batches = self.ready_batches(epoch, first * accumulate)
        for number in range(first, self.steps):
            step = self._step(epoch, number)
            counting = self._must_count()
            with self._counting() if counting else nullcontext():
                result = self.stepper.take(islice(batches, accumulate), step)
            if counting and self.passes is not None:
                self.passes = self.passes.over(self.run.ranks)
            yield number, result

    # ---- what ranks have in common

    def _begin_alike(self, where: tuple[int, int] = (0, 0)) -> tuple[int, int]:
        """Give all ranks what the first has loaded, and return its epochs and its steps of the next one."""
        ranks, stepper = self.run.ranks, self.stepper
        if ranks.size == 1:
            return where
        ranks.spread(self.method.state_dict().values())
        state = cpu_state(stepper.optimizer) if ranks.rank == 0 else None
        where, state, scaler = ranks.tell((where, state, stepper.scaler.state_dict()))
        if ranks.rank:
            groups = stepper.optimizer.state_dict()["param_groups"]
            stepper.optimizer.load_state_dict({"state": state, "param_groups": groups})
            stepper.scaler.load_state_dict(scaler)
        return where

    def _refuse_difference(self, epoch: int) -> None:
        """Raise a CellError if the state of a rank is not that of the first to the bit."""
        if name := self.run.ranks.find_difference(self.method.state_dict()):
            raise CellError(
                f"{self.run.what}: after epoch {epoch + 1} the devices do not hold the same {name}. "
                "Something in the method differs with where it is computed: report it, or use one."
            )

    def _must_count(self) -> bool:
        """Tell whether the passes of a step are to be counted: of the first, as all take as many."""
        return self.passes is None and not self.run.training.compile  # watched, it would be compiled anew

    def _counting(self) -> AbstractContextManager[Any]:
        """Return the context in which the passes of a step are counted."""
        self.passes = Passes()
        return count_passes(self.method, self.run.training.image_size, self.passes)

    def total_passes(self) -> dict[str, dict[str, float]] | None:
        """Return how many images a step, an epoch and the run see in all views, forward and backward."""
        if self.passes is None:
            return None
        training = self.run.training
        views = training.step_images * relative_cost(self.run.views, training.image_size)
        step = {"views": views, "forward": self.passes.forward, "backward": self.passes.backward}
        steps = {"step": 1, "epoch": self.steps, "run": self.steps * training.epochs}
        return {of: {name: count * number for name, number in step.items()} for of, count in steps.items()}

    def _first_pass(self) -> None:
        """Show the method as many images as an epoch has before it is trained, if it wants to see them."""
        if type(self.method).first_pass is not Method.first_pass:
            self.stepper.pass_over(self.ready_batches(FIRST_PASS), self._step(0, 0))
            wait_for(self.run.device)

    def ready_batches(self, epoch: int, first: int = 0) -> Iterator[ReadyBatch]:
        """Yield the batches of an epoch's steps in turn, with views made ahead where the device allows.

        Args:
            epoch: counted from 0.
            first: the number of the batch to begin with.
        """
        batches = islice(enumerate(chain.from_iterable(self.batches(epoch))), first, None)
        ready = (
            ReadyBatch(
                number, self._batch(index, epoch, number), self.view_source.views(index, epoch, number)
            )
            for number, index in batches
        )
        return self.side.prefetch(ready) if self.side else ready

    def _batch(self, index: Tensor, epoch: int, number: int) -> Batch:
        """Return what belongs to a batch of an epoch, on the run's device."""
        generator = torch.Generator().manual_seed(seed_of(self.run.seed, "draws", epoch, number))
        draws = self.method.draw(len(index), generator)
        labels = self.images.labels[index]
        index, labels = (to_device(x, self.run.device) for x in (index, labels))
        return Batch(index, labels, {name: to_device(x, self.run.device) for name, x in draws.items()})

    def _step(self, epoch: int, number: int) -> Step:
        """Return where a step of an epoch stands in the training."""
        epochs = self.run.training.epochs
        return Step(number=epoch * self.steps + number, total=self.steps * epochs, epoch=epoch, epochs=epochs)

    # ---- monitors

    @mark("monitors")
    @torch.no_grad()
    def _monitors(self, epoch: int, last: StepResult) -> dict[str, float]:
        """Return what is watched: on the epoch's last batch, and every few epochs on the sample."""
        first = next(iter(last.embeddings.values()))
        z = first.reshape(len(first), -1)
        values = {"z_std": embedding_std(z), "z_rankme": rankme(z[:RANK_ROWS])}
        values |= self.method.monitors(last.embeddings, last.batch)
        if (sample := self._sample_due(epoch)) is not None:
            with eval_mode(self.method.export()):
                values |= knn_monitors(sample, self._features)
        return {name: float(value) for name, value in values.items()}

    def _sample_due(self, epoch: int) -> KnnSample | None:
        """Return the sample if it is to be classified after `epoch`: every few, and after the last."""
        run, images = self.run, self.steps * self.run.training.step_images
        if run.knn is None:
            return None
        every = knn_interval(len(run.knn), images, relative_cost(run.views, run.training.image_size) or 1)
        return run.knn if (epoch + 1) % every == 0 or epoch + 1 == run.training.epochs else None

    def _features(self, pixels: Tensor) -> Tensor:
        """Return the features (n, dim) of clean images (n, channels, h, w), a chunk at a time."""
        run, network, rows = self.run, self.method.export(), []
        for chunk in pixels.split(run.training.chunk_size or run.training.batch_size):
            x = normalise(resize(chunk.to(run.device), run.training.image_size), run.mean, run.std)
            with self.stepper.autocast():
                rows.append(network(x).float())
        return torch.cat(rows)

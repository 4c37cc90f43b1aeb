"""One optimiser step: the gradient of each of its batches, and their mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from bench.contracts.method import Batch, Embeddings, Method, Step
from bench.keys import seed_of
from bench.pretraining.gradient_cache import (
    Buffers,
    cached_gradient,
    counted_once,
    embed_all,
    even_chunks,
    shared_gradient,
)
from bench.pretraining.optimizer_step import begin_step, finish_gradients
from bench.pretraining.optimizers import build_optimizer
from bench.pretraining.prefetch import ReadyBatch
from bench.pretraining.rank_share import Places, RankShare
from bench.pretraining.training_run import TrainingRun
from bench.system.profiler import mark

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}  # others are float32, in full or in TF32


@dataclass(frozen=True)
class StepResult:
    """What is known after a step.

    Args:
        embeddings: of the last batch, without their graph.
        batch: the last one.
        terms: by name, each the mean over the batches, a scalar on the device.
        lr: of the parameters that have none of their own.
    """

    embeddings: Embeddings
    batch: Batch
    terms: Mapping[str, Tensor]
    lr: float


class Stepper:
    """Takes the steps of a training: in two stages of the method, with the harness between them.

    Every random state is set from where it is used, so that a training which was stopped draws what
    one that was not draws, and a batch in chunks what the whole batch draws.

    Args:
        method: on the run's device.
        run: seed, precision and sizes.
    """

    def __init__(self, method: Method, run: TrainingRun) -> None:
        self.method, self.run, self.ranks = method, run, run.ranks
        self.chunks = even_chunks(run.training.batch_size, run.training.chunk_size)
        self.optimizer = build_optimizer(method, run.training)
        self.scaler = torch.amp.GradScaler(run.device.type, enabled=run.training.precision == "float16")

    def take(self, batches: Iterable[ReadyBatch], step: Step) -> StepResult:
        """Take a step with the mean gradient of its batches, of which there is at least one."""
        self._seed("before step", step.number)
        self.method.before_step(step)
        if step.starts_epoch:  # what is clustered on a GPU may differ between two in a bit
            self.ranks.spread(self.method.state_dict().values())
        lr = begin_step(self.optimizer, self.run.training, step)
        self.optimizer.zero_grad(set_to_none=True)
        rows = []
        for ready in batches:
            embeddings, terms = self._add_gradient(ready, step)
            rows.append(terms)
        if self.ranks.size > 1:
            with mark("gradients of all ranks"):
                self.ranks.add_up(
                    [param.grad for param in self.method.parameters() if param.grad is not None]
                )
        with mark("optimiser"):
            finish_gradients(self.optimizer, self.run.training, step, self.scaler)
            self.scaler.step(self.optimizer)
            self.scaler.update()
        self._seed("after step", step.number)
        self.method.after_step(step)
        means = {name: torch.stack([row[name] for row in rows]).mean() for name in terms}
        return StepResult(embeddings, ready.batch, means, lr)

    @torch.no_grad()
    def pass_over(self, batches: Iterable[ReadyBatch], step: Step) -> None:
        """Show the method what it makes of batches before it is trained: only what it notes is changed.

        Args:
            batches: as they are embedded, in the mode that the method is in.
            step: the one that will be the first.
        """
        step = replace(step, with_gradient=False)
        for ready in batches:
            batch = replace(ready.batch, step=step)
            embed = partial(self._embed, ready, batch, "dropout in first pass")
            embeddings = embed_all(self.chunks, embed, Buffers(self.method), self.ranks)
            self._seed("first pass", ready.number)
            self.method.first_pass(embeddings, batch)

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context in which a network computes in the precision of the training."""
        dtype = DTYPES.get(self.run.training.precision)
        return torch.autocast(self.run.device.type, dtype) if dtype else nullcontext()

    def _add_gradient(self, ready: ReadyBatch, step: Step) -> tuple[Embeddings, dict[str, Tensor]]:
        """Add the gradient of a batch; return its embeddings, without their graph, and its terms."""
        batch = replace(ready.batch, step=step)
        embed = partial(self._embed, ready, batch, "dropout")

        def backward(embeddings: Embeddings) -> dict[str, Tensor]:
            self._seed("terms", step.epoch, ready.number)
            with mark("terms"):
                terms = self.method.terms(embeddings, batch)
            loss = torch.stack(list(terms.values())).sum() / self.run.training.accumulate
            with mark("backward"), counted_once(self.method.parameters(), self.ranks):
                self.scaler.scale(loss).backward()
            return {name: term.detach() for name, term in terms.items()}

        @torch.no_grad()
        def after(embeddings: Embeddings) -> None:
            detached = {name: z.detach() for name, z in embeddings.items()}
            self.method.after_batch(detached, batch)

        if len(self.chunks) > 1:
            return cached_gradient(self.method, self.chunks, embed, backward, after, self.ranks)
        if self.ranks.size > 1:
            return shared_gradient(self.chunks[0], embed, backward, after, self.ranks)
        embeddings = embed(self.chunks[0])
        terms = backward(embeddings)
        after(embeddings)
        return {name: z.detach() for name, z in embeddings.items()}, terms

    def _embed(self, ready: ReadyBatch, batch: Batch, purpose: str, chunk: slice) -> Embeddings:
        """Return the embeddings of a chunk of a batch, or of this rank's share of it, in float32 at least.

        What is random has a purpose's seed.
        """
        rows, step = self.ranks.share(chunk), batch.step
        views, part = ready.views(rows), batch.rows(rows)
        part = replace(part, step=replace(step, with_gradient=torch.is_grad_enabled()))
        self._seed(purpose, step.epoch, ready.number, *([chunk.start] if chunk.start else []))
        with mark("forward"), self.autocast(), self._sharing(chunk.stop - chunk.start):
            embeddings = self.method.embed(views, part)
        return {name: z.to(torch.promote_types(z.dtype, torch.float32)) for name, z in embeddings.items()}

    def _sharing(self, images: int) -> AbstractContextManager[Any]:
        """Return the context in which a network sees this rank's share of some images as part of them."""
        if self.ranks.size == 1:
            return nullcontext()
        return RankShare(self.ranks, Places.of(self.ranks, images))

    def _seed(self, purpose: str, *position: int) -> None:
        torch.manual_seed(seed_of(self.run.seed, purpose, *position))

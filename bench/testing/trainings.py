"""Train the method under test for a few steps, through the harness's own loop, and compare trainings."""

from __future__ import annotations

import contextlib
import io
import math
import multiprocessing
import random
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch._C._distributed_c10d import FileStore

from bench.contracts.dataset import Images
from bench.contracts.method import Method
from bench.contracts.recipe import Training
from bench.errors import one_line
from bench.pretraining.loop import pretrain
from bench.pretraining.online_knn import KnnSample
from bench.pretraining.training_run import TrainingRun
from bench.system.ranks import ALONE, Ranks, is_cut_off, join_ranks, leave_ranks
from bench.testing.checks import alike, require, skip
from bench.testing.networks import CHANNELS
from bench.testing.plain_state import Snapshot, take_snapshot
from bench.testing.subject import Network, Subject, make_images, other_labels

EPOCHS, STEPS = 2, 2  # a training that is stopped goes on in the middle of the second epoch
STOPPED_AT = 4  # the step after the one that the last checkpoint was written at
TIMES = ("seconds", "images_per_s")  # of a line of metrics
APART = 0.05  # of how far a tensor has moved: more is no rounding
ROUNDING = 1e-3  # of how far all of them have: what is less may be rounding
NUDGE = 1e-5  # of a parameter, as sums of thousands round
PATIENCE_S = 120.0  # for two processes
KNN_BANK, KNN_QUERIES = 24, 8


@dataclass(frozen=True, kw_only=True)
class Variation:
    """How a method is trained.

    Args:
        network: its backbone.
        count: images of a batch.
        channels: of the images.
        chunk_size: as of `Training`.
        accumulate: as of `Training`.
        precision: as of `Training`.
        plain: by SGD at a small rate, where the method's own optimiser would make much of rounding.
        still: batch norm and dropout are as in evaluation: they see a chunk, and not the batch.
        relabelled: labels are others, by which other images are of one class.
        disturbed: random states that are not the harness's are others.
        nudged: parameters begin elsewhere by as much as rounding might move them.
    """

    network: Network
    count: int
    channels: int = CHANNELS
    chunk_size: int | None = None
    accumulate: int = 1
    precision: str = "float32"
    plain: bool = False
    still: bool = False
    relabelled: bool = False
    disturbed: bool = False
    nudged: bool = False


@dataclass(frozen=True)
class Trained:
    """What came of a training.

    Args:
        lines: of `metrics.jsonl`, an epoch each, without times.
        terms: names of the terms of the loss.
        start: the state before it.
        state: the state after it.
        trained: names of parameters.
        frozen: names of those that take no gradient after it.
        exported: names of the tensors of `export()`, with values.
        first_exported: the same, before it.
        began: epochs that a checkpoint had.
        before: what the method keeps outside of its state, before the training.
        after: the same, after it.
    """

    lines: list[dict[str, float]]
    terms: tuple[str, ...]
    start: Mapping[str, Tensor]
    state: Mapping[str, Tensor]
    trained: tuple[str, ...]
    frozen: frozenset[str]
    exported: Mapping[str, Tensor]
    first_exported: Mapping[str, Tensor]
    began: int
    before: Snapshot
    after: Snapshot


class Stopped(BaseException):
    """Stands for the end of a process."""


def train(
    subject: Subject,
    variation: Variation,
    *,
    folder: Path | None = None,
    stop_at: int | None = None,
    prepare: Callable[[Method], None] = lambda _method: None,
    ranks: Ranks = ALONE,
) -> Trained:
    """Train the method as the harness does.

    Args:
        subject: whose method.
        variation: how.
        folder: of the training, with a checkpoint after each step; none keeps nothing.
        stop_at: the training ends in this step, as if its process did.
        prepare: is called with the method before it is trained.
        ranks: that train together.

    Raises:
        Stopped: it was to end.
    """
    method = subject.build(variation.network, variation.channels)
    start, before, first = clone_state(method), take_snapshot(method), clone_state(method.export())
    if variation.still:
        keep_still(method)
    if variation.nudged:
        nudge(method)
    prepare(method)
    images = images_of(variation)
    lines: list[dict[str, float]] = []
    terms: list[str] = []
    began: list[int] = [0]

    def on_step(step: int, read: Mapping[str, float]) -> None:
        terms[:] = read
        if step == stop_at:
            raise Stopped

    def on_epoch(_epoch: int, metrics: Mapping[str, float]) -> None:
        lines.append({name: value for name, value in metrics.items() if name not in TIMES})

    with contextlib.ExitStack() as stack:
        where = folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        stack.enter_context(random_states(disturbed=variation.disturbed))
        every = 1e9 if folder is None else -1.0
        run = TrainingRun(
            what=subject.name,
            key="kit",
            training=resolve(subject, variation),
            views=views_of(subject, variation.channels),
            mean=(0.5,) * variation.channels,
            std=(0.25,) * variation.channels,
            seed=0,
            device=torch.device("cpu"),
            folder=where,
            live=False,
            epoch_images=STEPS * variation.count * variation.accumulate,
            knn=sample_of(images),
            on_start=began.append,
            on_step=on_step,
            on_epoch=on_epoch,
            checkpoint_every_s=every,
            ranks=ranks,
        )
        pretrain(method, images, run)
    params = dict(method.named_parameters())
    frozen = frozenset(name for name, p in params.items() if not p.requires_grad)
    exported, state, after = clone_state(method.export()), clone_state(method), take_snapshot(method)
    return Trained(
        lines, tuple(terms), start, state, tuple(params), frozen, exported, first, began[-1], before, after
    )


def resolve(subject: Subject, variation: Variation) -> Training:
    """Return the training of a variation."""
    training = subject.training(
        variation.count,
        epochs=EPOCHS,
        chunk_size=variation.chunk_size,
        accumulate=variation.accumulate,
        precision=variation.precision,
    )
    if variation.plain:  # a large loss rounds much, so its gradient is clipped
        training = replace(training, optimizer="sgd", lr=0.01, min_lr=0.0, clip_norm=100.0, clip_scope="all")
    return training


def views_of(subject: Subject, channels: int) -> tuple[Any, ...]:
    """Return the views as they are trained on: without what would change a label."""
    data = subject.data(channels)
    views = subject.cls.views(subject.config, data, subject.training(subject.count).image_size)
    return tuple(view.label_preserving(data) for view in views)


def images_of(variation: Variation) -> Images:
    """Return what is trained on."""
    images = make_images(variation.channels)
    return Images(images.pixels, other_labels()) if variation.relabelled else images


def sample_of(images: Images) -> KnnSample:
    """Return a few images that are classified after the last epoch, as a run does."""
    rows = torch.arange(KNN_BANK + KNN_QUERIES)
    return KnnSample(images.take(rows[:KNN_BANK]), images.take(rows[KNN_BANK:]))


def clone_state(network: nn.Module) -> dict[str, Tensor]:
    """Return a copy of the state of a method or of a network."""
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def keep_still(method: Method) -> None:
    """Keep a method in eval mode, whatever mode it is put into."""
    method.eval()
    method.__dict__["train"] = lambda _mode=True: method


@torch.no_grad()
def nudge(method: Method) -> None:
    """Move every number of the parameters by about 1e-5 of it."""
    drawn = torch.Generator().manual_seed(0)
    for p in method.parameters():
        p.mul_(1 + NUDGE * torch.randn(p.shape, generator=drawn))


@contextlib.contextmanager
def random_states(*, disturbed: bool) -> Iterator[None]:
    """Give random states that are not the harness's a value, and back the one they had."""
    kept = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    seed = 1 if disturbed else 0
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(kept[0])
        np.random.set_state(kept[1])  # noqa: NPY002
        torch.set_rng_state(kept[2])


def train_and_resume(subject: Subject, variation: Variation) -> Trained:
    """Train in two parts, as two processes do of which the first one ends in its last step."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            train(subject, variation, folder=Path(folder), stop_at=STOPPED_AT)
        except Stopped:
            return train(subject, variation, folder=Path(folder))
    raise AssertionError(f"it took fewer than {STOPPED_AT} steps")


# ---- two processes


def train_in_two(subject: Subject, variation: Variation) -> Trained:
    """Train in two processes that share each batch, and return what the first has.

    Raises:
        AssertionError: one of them failed.
    """
    if sys.platform != "linux" or torch.cuda.is_initialized():
        skip("two processes are forked for it: on Linux, where no GPU is in use")
    with tempfile.TemporaryDirectory() as folder:
        fork = multiprocessing.get_context("fork")
        processes = [
            fork.Process(target=_be_rank, args=(Path(folder), rank, subject, variation), daemon=True)
            for rank in range(2)
        ]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # threads of who runs the kit do not matter
            for process in processes:
                process.start()
        for process in processes:
            process.join(PATIENCE_S)
        hanging = [process for process in processes if process.is_alive()]
        for process in hanging:
            process.kill()
            process.join()
        errors = [file.read_text() for file in sorted(Path(folder).glob("error-*"))]
        require(not errors, f"one of them raised {errors[0] if errors else ''}")
        require(
            not hanging, f"they wait for each other for {PATIENCE_S:g} s: does embed() or terms() end alike?"
        )
        codes = [process.exitcode for process in processes]
        require(codes == [0, 0], f"they ended with exit statuses {codes}")
        trained: Trained = torch.load(Path(folder) / "trained.pt", weights_only=False)
        return trained


def _be_rank(folder: Path, rank: int, subject: Subject, variation: Variation) -> None:
    """Do a process's part of a training, and leave what came of it or what was raised in a file."""
    torch.set_num_threads(1)  # a process that was forked has none of the threads that there were
    try:
        ranks = join_ranks(FileStore(str(folder / "store"), 2), rank, 2, torch.device("cpu"))
        trained = train(subject, variation, ranks=ranks)
        if rank == 0:
            torch.save(trained, folder / "trained.pt")
        leave_ranks()
    except BaseException as error:  # noqa: BLE001 - told by the process that waits
        if not is_cut_off(error):
            (folder / f"error-{rank}").write_text(one_line(error))
        sys.exit(1)


# ---- what differs


def find_difference(one: Trained, other: Trained, *, learned: bool = False) -> str:
    """Return what differs to the bit of two trainings in the epochs of both, or nothing.

    Args:
        one: to compare with.
        other: that may lack earlier epochs.
        learned: only losses and what is trained or exported count.
    """
    epochs = {line["epoch"]: line for line in other.lines}
    for line in one.lines:
        found = epochs.get(line["epoch"], line)
        for name in ("loss", *one.terms) if learned else line:
            value, second = line[name], found.get(name, math.nan)
            if value != second and not math.isnan(value + second):
                return f"{name} of epoch {line['epoch']:g} is {second:.6g} and not {value:.6g}"
    states = [(one.exported, other.exported)] if learned else [(one.state, other.state)]
    if learned:
        states.append(({name: one.state[name] for name in one.trained}, other.state))
    for wanted, found_state in states:
        for name, tensor in wanted.items():
            if not torch.equal(tensor, found_state[name]):
                return f"{name} ends with other numbers"
    return ""


def find_apart(one: Trained, other: Trained) -> str:
    """Return what differs by more than rounding of two trainings that began alike, or nothing."""
    total = torch.stack([_distance(value, one.start[name]) for name, value in one.state.items()]).norm()
    for first, second in zip(one.lines, other.lines, strict=True):
        for name in ("loss", *one.terms):
            value, found = first[name], second[name]
            if abs(value - found) > 1e-4 + 2e-3 * max(abs(value), abs(first["loss"])):
                return f"{name} of epoch {first['epoch']:g} is {found:.6g}, not {value:.6g}"
    for name, tensor in one.state.items():
        is_number_of_some = (
            tensor.ndim > 0 and not tensor.is_floating_point()
        )  # a cluster: rounding may decide
        if is_number_of_some or torch.equal(tensor, other.state[name]):
            continue
        apart, moved = _distance(tensor, other.state[name]), _distance(tensor, one.start[name])
        is_rounding = bool(apart <= APART * moved) or bool(apart <= ROUNDING * total)
        if not alike(tensor, other.state[name]) or not is_rounding:
            return f"{name} ends elsewhere"
    return ""


def _distance(one: Tensor, other: Tensor) -> Tensor:
    return torch.dist(one.float(), other.float())

"""The processes that make one cell together, a device each: this one leads, the others do as it says.

The leader alone has the plan, the store and the terminal. Where a stage is to be shared out it tells the
others which, and of which cell; they build what it has built, and compute their part of it. Cells to evaluate
are dealt out whole, and nobody waits (`bench.execution.deal`). It starts them itself, when the first such
stage comes, or `torchrun` has started all of them.

Where one ends or raises, so does what the leader waits for. The cell fails by what happened, the others are
ended, and the next stage starts new ones; of `torchrun` there are none, and the run ends.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import multiprocessing.connection
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

import torch
from torch._C._distributed_c10d import Store, TCPStore

from bench.errors import BenchError, CellError, one_line
from bench.execution.deal import Deal, Dealer
from bench.planning.cells import Cell
from bench.system.arithmetic import float32_as
from bench.system.leaving import SIGNALS
from bench.system.malloc import keep_freed_pages
from bench.system.memory import is_out_of_memory
from bench.system.process_end import ProcessEnd
from bench.system.processes import begin_worker
from bench.system.ranks import ALONE, Ranks, is_cut_off, join_ranks, leave_ranks
from bench.system.streams import show_crashes, take_stdout

BEGIN, END = "begin", "end"  # of the run, under which one is noted in the store that ranks meet at
CUT_OFF = 3  # exit status of one that ends because another has
WAIT_S = 0.2  # between two looks at it
GRACE_S = 5.0  # for a rank to end, or to say why
HOST = "127.0.0.1"
GO_ON = "Run again: a training goes on from its last checkpoint, with any number of --devices."

log = logging.getLogger("bench")


@dataclass(frozen=True)
class Joined:
    """The processes that `torchrun` has started, of which this is one.

    Args:
        rank: of this one.
        size: how many there are.
        local_rank: of this one among those on its machine.
        local_size: how many there are on its machine.
        store: where they meet.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int
    store: Store


@dataclass(frozen=True)
class Task:
    """What the others are to do.

    Args:
        stage: `pretrain`, `features` or `evaluate`.
        cell: of which.
        of: what the stage needs to know besides.
    """

    stage: str
    cell: Cell
    of: Any


Join = Callable[[Cell, Any, Ranks], None]  # does this process's part of a stage


class TeamSpec(Protocol):
    """What is to be known of a run; it can be sent to another process, without `joined`."""

    @property
    def devices(self) -> int:
        """That make a cell together."""

    @property
    def threads(self) -> int:
        """Of the processor, for each process."""

    @property
    def joined(self) -> Joined | None:
        """The processes that `torchrun` has started, if it has."""

    def rank_device(self, rank: int) -> torch.device:
        """Return the device of one of the processes."""

    def open_stages(self, device: torch.device) -> Mapping[str, Join]:
        """Return what does another process's part of each stage, by its name."""


class Team:
    """The processes that make cells together, as the one that leads sees them.

    Args:
        spec: of the run, with the number of devices and that of this process.
    """

    def __init__(self, spec: TeamSpec) -> None:
        self.spec, self.size = spec, spec.devices
        self._ranks: Ranks | None = None
        self._store: Store | None = None
        self._others: list[BaseProcess] = []
        self._dealer: Dealer | None = None
        self._deals = 0

    @contextlib.contextmanager
    def sharing(self, stage: str, cell: Cell, of: Any = None) -> Iterator[Ranks]:
        """Have the others do their part of a stage while the block does its own.

        Args:
            stage: as of `Task`.
            cell: as of `Task`.
            of: as of `Task`.

        Raises:
            CellError: another process ended, or raised, in the stage.
        """
        if self.size == 1:
            yield ALONE
            return
        self.settle()
        try:
            ranks = self._ranks or self._open()
            ranks.tell(Task(stage, cell, of))
            yield ranks
        except BaseException as error:
            happened = self._explain(error)
            self._end(broken=True)
            if happened:
                raise CellError(happened) from error
            raise

    def deal(self, units: Sequence[Sequence[Cell]]) -> None:
        """Have the others evaluate cells while this process does, but none where there is one unit.

        Args:
            units: of cells, as of `Deal`.

        Raises:
            CellError: another process ended before it could.
        """
        self.settle()
        if len(units) < 2 or self.size == 1:
            return
        self._deals += 1
        deal = Deal(f"deal/{self._deals}", units)
        with self.sharing("evaluate", units[0][0], deal) as ranks:
            assert ranks.board is not None  # noqa: S101 - they have met
            self._dealer = Dealer(deal, ranks.board, range(1, ranks.size), self._how_ended)

    def has_dealt(self, cell: Cell) -> bool:
        """Tell whether a cell is one of those that were dealt last."""
        return self._dealer is not None and self._dealer.has(cell)

    def fetch(self, cell: Cell) -> Any:
        """Return what another process makes of a cell that was dealt; none where this one is to evaluate it.

        Raises:
            CellError: the other process ended while it evaluated the cell.
        """
        assert self._dealer is not None  # noqa: S101 - see `has_dealt`
        try:
            return self._dealer.get(cell)
        except CellError:
            if self.spec.joined:
                self._end(broken=True)
            raise

    def settle(self) -> None:
        """Wait until the others have evaluated what they took; where one has ended, so do all."""
        if self._dealer is None:
            return
        are_there = self._dealer.wait()
        self._dealer = None
        if not are_there:
            self._end(broken=True)

    def close(self) -> None:
        """Let the others go, or end them where they are in the middle of what nobody asks for any more."""
        if self._dealer and not self._dealer.is_over():
            self._end(broken=True)
        self.settle()
        if self._ranks is not None:
            with contextlib.suppress(RuntimeError):  # one has ended since the last stage
                self._ranks.tell(None)
        self._end()

    def _open(self) -> Ranks:
        """Start the others, and meet them."""
        device = self.spec.rank_device(0)
        if self.spec.joined:
            self._store = self.spec.joined.store
            self._store.set(BEGIN, "")
        else:
            store = TCPStore(HOST, 0, is_master=True, wait_for_workers=False)
            self._store = store
            spawn = multiprocessing.get_context("spawn")
            for rank in range(1, self.size):
                where = (store.port, rank, self.size, str(self.spec.rank_device(rank)), self.spec.threads)
                self._others.append(spawn.Process(target=serve_rank, args=where, name=f"rank {rank}"))
                self._others[-1].start()
        self._await_others(self._store)
        self._ranks = join_ranks(self._store, 0, self.size, device)
        self._ranks.tell(self.spec)
        if device.type == "cuda" and self._others:  # a GPU waits for a rank that is gone; a CPU is told
            threading.Thread(target=_give_up_with, args=(list(self._others),), daemon=True).start()
        return self._ranks

    def _await_others(self, store: Store) -> None:
        """Wait until all others are there.

        Raises:
            RuntimeError: one has ended.
        """
        while not store.check([_here(rank) for rank in range(1, self.size)]):
            if any(process.exitcode is not None for process in self._others):
                raise RuntimeError("a process ended before it was there")
            time.sleep(WAIT_S / 4)

    def _explain(self, error: BaseException) -> str:
        """Return what happened to another process; nothing where the error is this one's own."""
        if isinstance(error, BenchError) or not isinstance(error, Exception) or is_out_of_memory(error):
            return ""
        deadline = time.monotonic() + GRACE_S
        while time.monotonic() < deadline:
            for rank in range(1, self.size):
                if said := self._read_error(rank):
                    return said
            for rank, process in enumerate(self._others, 1):
                if process.exitcode not in (None, CUT_OFF):
                    return f"{self._how_ended(rank)}. {GO_ON}"
            time.sleep(WAIT_S / 4)
        return f"one of {self.size} processes ended. {GO_ON}" if is_cut_off(error) else ""

    def _read_error(self, rank: int) -> str:
        """Return what another process has raised, if it has."""
        if self._store is None or not self._store.check([_where(rank)]):
            return ""
        return f"device {rank} of {self.size}: {self._store.get(_where(rank)).decode()}"

    def _how_ended(self, rank: int) -> str:
        """Return how another process has ended; nothing where it is there, or where that cannot be known."""
        if said := self._read_error(rank):
            return said
        what = f"the process of device {rank} of {self.size} ended"
        if self._others:
            code = self._others[rank - 1].exitcode
            return "" if code is None else f"{what} ({ProcessEnd.of(code)})"
        return what if self._store and _is_gone(self._store.get(_here(rank)).decode()) else ""

    def _end(self, *, broken: bool = False) -> None:
        """End the others, and forget them."""
        for process in self._others:
            process.join(0 if broken else GRACE_S)
            if process.is_alive():
                process.kill()
                process.join()
        leave_ranks(broken=broken)
        self._dealer = None
        lost = broken and self.spec.joined is not None
        self._ranks, self._store, self._others = None, None, []
        if lost:
            self.size = 0  # what torchrun started cannot be started anew

    @property
    def is_lost(self) -> bool:
        """Whether the others are gone for good."""
        return self.size == 0


def _give_up_with(others: list[BaseProcess]) -> None:
    """Wait until a process ends, and where it should not have, give up what the GPU waits for."""
    multiprocessing.connection.wait([process.sentinel for process in others])
    if any(process.exitcode for process in others):
        leave_ranks(broken=True)


def serve_rank(port: int, rank: int, size: int, device: str, threads: int) -> None:
    """Do as the leader says until it says no more: what a process that it has started does.

    Args:
        port: of the store on this machine where they meet.
        rank: of this process.
        size: how many there are.
        device: of this process.
        threads: of the processor.
    """
    begin_worker(threads)
    take_stdout()
    show_crashes()
    torch.set_num_threads(threads)
    store = TCPStore(HOST, port, is_master=False, wait_for_workers=False)
    os._exit(follow(store, rank, size, torch.device(device)))  # what a library left running is of no use


def wait_and_follow(joined: Joined, device: str | None) -> int:
    """Do as the leader says, once it begins, and return the exit status: one of `torchrun`'s processes.

    Args:
        joined: this one.
        device: asked for on the command line.
    """
    store = joined.store
    while not store.check([BEGIN]):
        if store.check([END]):
            return 0
        time.sleep(WAIT_S)
    uses_gpu = device != "cpu" and torch.cuda.is_available()
    own = torch.device("cuda", joined.local_rank) if uses_gpu else torch.device("cpu")
    return follow(store, joined.rank, joined.size, own)


@contextlib.contextmanager
def leading(joined: Joined | None) -> Iterator[None]:
    """Tell the other processes of `torchrun` when the run is done."""
    try:
        yield
    finally:
        if joined:
            with contextlib.suppress(RuntimeError):
                joined.store.set(END, "")


def follow(store: Store, rank: int, size: int, device: torch.device) -> int:
    """Meet the others, do as the leader says, and return the exit status."""
    for name in ("SIGINT", *SIGNALS):  # the leader decides what comes of them, and ends this process
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    log.setLevel(logging.CRITICAL)  # what it would say the leader says, but of what it alone evaluates
    store.set(_here(rank), f"{socket.gethostname()} {os.getpid()}")
    ranks = join_ranks(store, rank, size, device)
    try:
        _obey(ranks)
    except BaseException as error:  # noqa: BLE001 - said by the leader, whose cell fails by it
        if is_cut_off(error):
            return CUT_OFF
        with contextlib.suppress(RuntimeError):
            store.set(_where(rank), one_line(error))
        return 1
    leave_ranks()
    return 0


def _obey(ranks: Ranks) -> None:
    """Do what the leader says until it says nothing."""
    spec: TeamSpec = ranks.tell()
    stages = spec.open_stages(ranks.device)
    keep_freed_pages()
    with float32_as("float32"):
        while (task := ranks.tell()) is not None:
            log.setLevel(logging.NOTSET if task.stage == "evaluate" else logging.CRITICAL)
            stages[task.stage](task.cell, task.of, ranks)


def _here(rank: int) -> str:
    """Return under which name it is in the store that a rank is there."""
    return f"here/{rank}"


def _where(rank: int) -> str:
    """Return under which name a rank's error is in the store."""
    return f"error/{rank}"


def _is_gone(said: str) -> bool:
    """Tell whether a process of this machine, by what it said of itself, is no more."""
    host, _, pid = said.rpartition(" ")
    if host != socket.gethostname() or not hasattr(os, "fork"):  # Windows takes a signal of 0 for another one
        return False
    try:
        os.kill(int(pid), 0)
    except OSError as error:
        return isinstance(error, ProcessLookupError)
    return False

"""Simulate a grid on many GPUs: what one worker was measured to ask of a shared folder, times a thousand.

python benchmarks/simulate_scale.py

A metadata server answers so many operations a second, first come first served. Workers start as fast as the
queue starts them; each loads its environment, then makes one backbone after the other, with operations on the
folder before and after, and says all the while that it lives. Prints, for servers of several speeds, how much
of its time the server is busy, how long an operation waits, and how much longer the grid takes for it.
"""

from __future__ import annotations

import heapq
import math
import sys
from dataclasses import dataclass

ENVIRONMENT = (
    17_400  # opened files of Python and its packages, and names that are not there, of a worker (strace)
)
START, BACKBONE = 170, 250  # calls on the results of a worker, and of a backbone with two scores (strace)
BEAT = 4  # calls of a beat of one of the two files of a worker
STEP_S = 1.0
LONGEST = 20  # times that the grid would take on a server that answers at once: it does not catch up
SERVERS = (1_000, 5_000, 20_000)  # operations a second: an NFS server of disks, a good one, Lustre or GPFS


@dataclass(frozen=True, kw_only=True)
class Site:
    """A grid and the machines that it is made on.

    Args:
        workers: GPUs.
        backbones: of the grid.
        seconds: that a backbone and its scores take.
        starts_per_s: jobs that the queue starts a second.
        beats_per_s: of all workers together at most; infinite for each as often as it likes.
        is_local: the environment is on each node's own disk.
    """

    workers: int = 1000
    backbones: int = 5000
    seconds: float = 1800.0
    starts_per_s: float = 20.0
    beats_per_s: float = math.inf
    is_local: bool = True


@dataclass(frozen=True)
class Load:
    """What a server came to.

    Args:
        busy: share of its time, while the grid was made.
        worst_s: the longest that an operation waited.
        lost: how much longer the grid took, of its time.
    """

    busy: float
    worst_s: float
    lost: float


def simulate(site: Site, rate: float) -> Load:
    """Return the load of a server that answers `rate` operations a second."""
    per_worker = math.ceil(site.backbones / site.workers)
    boot = START + (0 if site.is_local else ENVIRONMENT)
    ideal = site.workers / site.starts_per_s + per_worker * site.seconds
    beats = min(2 * site.workers / 3.0, site.beats_per_s) * BEAT
    waiting = [(worker / site.starts_per_s, boot, per_worker) for worker in range(site.workers)]
    heapq.heapify(waiting)  # when a worker asks, for how much, and how many backbones are left to it
    backlog = worst = asked = end = time = 0.0
    while waiting:
        arriving = beats * len(waiting) / site.workers * min(1.0, time * site.starts_per_s / site.workers)
        while waiting and waiting[0][0] <= time:
            begins, count, left = heapq.heappop(waiting)
            arriving += count
            answered = begins + (backlog + arriving) / rate if count else begins
            end = max(end, answered)
            if left >= 0:  # in the end it asks for nothing more
                lasts = 0.0 if count == boot else site.seconds
                heapq.heappush(waiting, (answered + lasts, BACKBONE if left else 0, left - 1))
        asked += arriving
        worst = max(worst, (backlog + arriving) / rate)
        backlog = max(0.0, backlog + arriving - rate * STEP_S)
        time += STEP_S
        if time > LONGEST * ideal:
            return Load(1.0, math.inf, math.inf)
    return Load(asked / (rate * end), worst, max(0.0, end / ideal - 1))


CASES = {
    "environment on each node": Site(),
    "the same, beats limited to 100 a second": Site(beats_per_s=100),
    "environment on the shared folder": Site(is_local=False, beats_per_s=100),
    "the same, backbones of 2 minutes": Site(is_local=False, beats_per_s=100, seconds=120),
}


def table() -> str:
    """Return the table of `docs/scale.md`."""
    what = "1,000 workers, 5,000 backbones of 2 scores, 30 minutes each"
    headings = (what, "server, operations/s", "busy", "longest wait", "the grid takes longer by")
    lines = [f"| {' | '.join(headings)} |", "|---" * len(headings) + "|"]
    for name, site in CASES.items():
        for rate in SERVERS:
            load = simulate(site, rate)
            lost = "never ends" if math.isinf(load.lost) else f"{100 * load.lost:.1f} %"
            wait = "grows" if math.isinf(load.worst_s) else f"{load.worst_s:,.1f} s"
            lines.append(f"| {name} | {rate:,} | {100 * load.busy:.0f} % | {wait} | {lost} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(f"{table()}\n")

"""How the cells of a grid are shared out: in this process, over several, or over machines.

The modules below import execution. This one is the catalogue that every command imports, so it says only
what there is.
"""

from __future__ import annotations

from collections.abc import Iterator

from bench.hookspecs import Offer, hookimpl


@hookimpl
def bench_executors() -> Iterator[Offer]:
    """Offer the executors that come with bench."""
    yield Offer("in-process", ".in_process:InProcess", "One cell after the other, in this process.")
    yield Offer("local", ".local:Local", "Processes on this machine, as --jobs and --gpus say.")
    yield Offer("slurm", ".slurm:Slurm", "Jobs of Slurm, in arrays; bench status and bench cancel know them.")
    yield Offer("ray", ".ray:Ray", "Tasks of a Ray cluster, each a command line.")

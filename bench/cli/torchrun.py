"""Join the processes that `torchrun` has started, by the variables that it sets."""

from __future__ import annotations

from collections.abc import Mapping

from torch._C._distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from bench.execution.team import Joined

STARTED = "TORCHELASTIC_RUN_ID"  # is set by torchrun alone


def read_joined(environment: Mapping[str, str]) -> Joined | None:
    """Return the processes that this one is of; none where `torchrun` did not start it, or started one."""
    if STARTED not in environment or environment.get("WORLD_SIZE", "1") == "1":
        return None
    store, rank, size = next(iter(rendezvous("env://")))
    local_rank, local_size = int(environment["LOCAL_RANK"]), int(environment["LOCAL_WORLD_SIZE"])
    return Joined(rank, size, local_rank, local_size, PrefixStore("bench", store))

"""Train in processes that are killed and go on; say how each ended. Run as a script: FOLDER.

One process loads torch and forks for each kill, before it has any threads.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from watched_training import IMAGES, run_in, same, simclr, untimed

from bench.pretraining import checkpoint, loop

EPOCHS, STEPS = 3, 6  # of the whole training


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def at_step(step: int) -> Callable[[int, Mapping[str, float]], None]:
    return lambda done, _terms: die() if done == step else None


def writing(share: float, time: int) -> Callable[..., None]:
    """Return what writes a share of a checkpoint and dies, when it writes one for the `time`-th time."""
    whole, calls = checkpoint.save_file, []

    def save_file(tensors: Any, path: Path, metadata: Any) -> None:
        whole(tensors, path, metadata=metadata)
        calls.append(path)
        if len(calls) == time:
            path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
            die()

    return save_file


def train(folder: Path, **changes: Any) -> Any:
    method = simclr()
    loop.pretrain(method, IMAGES, run_in(folder, checkpoint_every_s=0.0, epochs=EPOCHS, **changes))
    return method


def forked(work: Callable[[], object]) -> int:
    """Return how a process ended that does some work: minus the signal, or its exit status."""
    child = os.fork()
    if not child:
        try:
            work()
        finally:
            os._exit(0 if sys.exc_info()[0] is None else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill_writing(folder: Path, share: float, time: int) -> None:
    checkpoint.save_file = writing(share, time)
    train(folder)


def compare(folder: Path, whole: Path) -> None:
    """Finish a training that was killed, and keep whether it is the one that was not."""
    method, other = train(folder), simclr()
    other.load_state_dict(torch.load(whole / "state.pt"))
    (folder / "alike").write_text(str(same(method, other) and untimed(folder) == untimed(whole)))


def main(root: Path) -> None:
    torch.set_num_threads(1)
    whole = root / "whole"
    loop.TrainingLoop(simclr(), IMAGES, run_in(whole))  # loads all that is loaded late, once
    forked(lambda: torch.save(train(whole).state_dict(), whole / "state.pt"))
    kills: dict[str, Callable[[Path], object]] = {
        f"step {step}": lambda folder, step=step: train(folder, on_step=at_step(step))
        for step in range(1, STEPS + 1)
    }
    for time in (1, 2):
        for share in (0.0, 0.5, 1.0):
            kills[f"write {time} {share}"] = lambda folder, share=share, time=time: kill_writing(
                folder, share, time
            )
    found = {}
    for number, (name, kill) in enumerate(kills.items()):
        folder = root / str(number)
        ended = forked(lambda: kill(folder))  # noqa: B023 - called at once
        left = sorted(path.name for path in folder.iterdir())
        again = forked(lambda: compare(folder, whole))  # noqa: B023 - called at once
        alike = again == 0 and (folder / "alike").read_text() == "True"
        found[name] = {"ended": ended, "left": left, "alike": alike}
    print(json.dumps(found))  # noqa: T201 - what the test reads


if __name__ == "__main__":
    main(Path(sys.argv[1]))

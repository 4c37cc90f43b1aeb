"""Processes that were started for some work end with the one that started them, though it is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

# What starts a worker and waits until it has done something.
WORK = {
    "--jobs": """
        from bench.execution.worker_process import WorkerProcess
        from bench.testing.executors import NamedSpec
        worker = WorkerProcess(NamedSpec(), ())
        list(worker.make([("a", "")]))
        worker._send([(Busy(), "")])
    """,
    "packing": """
        from bench_plugins.datasets.image_files.packing import Task, _run_tasks
        task = Task(Path("out"), 0, [], 3, 8)
        Path("out").touch()
        pool = _run_tasks([task] * 4, 2)
        list(pool.__enter__())
    """,
    "streaming": """
        from bench_plugins.datasets.image_files.decoding import read
        from bench.augmentation.crops import draw_crops
        from bench.pretraining.crop_workers import Cropper, Piece, crop_in_workers
        Image.new("RGB", (8, 8)).save("a.png")
        crops = draw_crops(torch.rand(22).numpy(), 0.5, 1.0, 4 / 3)[None]
        pieces = (Piece(["a.png"], crops) for _ in range(100))
        pool = crop_in_workers(Cropper(partial(read, channels=3), (4 / 3,), (8,)), pieces, 1, 1, "it")
        next(pool)
    """,
}
KILLED = """
import multiprocessing, os, signal, time
from functools import partial
from pathlib import Path
import torch
from PIL import Image

class Busy:  # keeps the process that is handed it at work
    def __reduce__(self):
        return time.sleep, (600,)

if __name__ == "__main__":
    {work}
    Path("workers").write_text(" ".join(str(child.pid) for child in multiprocessing.active_children()))
    os.kill(os.getpid(), signal.SIGKILL)
"""
PATIENCE_S = 30.0


def runs(pid: int) -> bool:
    """Tell whether a process is at work: not ended, whether or not somebody has asked how."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize("kind", WORK)
def test_workers_end_with_the_process_that_started_them(kind: str, tmp_path: Path) -> None:
    script = tmp_path / "killed.py"
    script.write_text(KILLED.format(work=WORK[kind].replace("\n        ", "\n    ").strip()))
    with (tmp_path / "errors").open("w") as errors:  # a pipe would be open for as long as a worker is
        done = subprocess.run([sys.executable, str(script)], check=False, cwd=tmp_path, stderr=errors)
    workers = [int(pid) for pid in (tmp_path / "workers").read_text().split()]
    until = time.monotonic() + PATIENCE_S
    while any(map(runs, workers)) and time.monotonic() < until:
        time.sleep(0.1)

    assert done.returncode == -signal.SIGKILL
    assert workers
    assert not any(map(runs, workers))

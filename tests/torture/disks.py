"""Disks that are full before a run is done, and have room for the next."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from runs import Run

from results import Results

ROOM = 1.2  # of what the reference takes: a checkpoint and its successor need more, for a while
SMALLEST_B = 200_000


class Disks:
    """File systems in memory, which root can mount; others have files that may not be larger than so much.

    Args:
        folder: below which they are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.mounted = folder, []
        self.is_root = os.geteuid() == 0 and shutil.which("mount") is not None and self._mounts()
        self.what = "full disks (tmpfs)" if self.is_root else "full disks (a limit of the size of files)"

    def close(self) -> None:
        """Take the file systems away."""
        for folder in self.mounted:
            subprocess.run(["umount", str(folder)], check=True)  # noqa: S607 - root's

    def fill(self, count: int, reference: Results) -> Iterator[tuple[Results, list[str]]]:
        """Yield what was made once there was room, and what was wrong with how the full disk was told."""
        sizes = [path.stat().st_size for path in reference.folder.rglob("*") if path.is_file()]
        whole = ROOM * (sum(-(-size // 4096) * 4096 for size in sizes) if self.is_root else max(sizes))
        for number in range(count):
            share = (number + 1) / (count + 1)
            size = int(SMALLEST_B + share * (whole - SMALLEST_B)) if self.is_root else int(share * max(sizes))
            results = Results(
                self.folder / str(number)
            )  # what is said of it goes beside it, where there is room
            results.folder.mkdir(parents=True)
            if self.is_root:
                self._mount(results.folder, size)
            limit = None if self.is_root else size
            full = Run(results.folder, limit=limit, name="-full").wait()
            problems = judge(full.status, full.said)
            if self.is_root:
                self._mount(results.folder, 10 * int(whole), again=True)
            again = Run(results.folder).wait()
            problems += [f"then it ended with {again.status}: {again.said[-300:]}"] if again.status else []
            yield results, [f"disk {number}: {problem}" for problem in problems]

    def _mounts(self) -> bool:
        """Tell whether this root may mount: that of a container may not."""
        probe = self.folder / "probe"
        probe.mkdir(parents=True)
        with contextlib.suppress(subprocess.CalledProcessError):
            self._mount(probe, SMALLEST_B)
            return True
        return False

    def _mount(self, folder: Path, size: int, *, again: bool = False) -> None:
        options = f"{'remount,' if again else ''}size={size}"
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)],  # noqa: S607 - root's
            check=True,
            capture_output=True,
        )
        if not again:
            self.mounted.append(folder)


def judge(status: int, said: str) -> list[str]:
    """Return what is wrong with how a run ended whose disk was full."""
    problems = []
    if "Traceback" in said:
        problems.append(f"a traceback: {said[-600:]}")
    if status and not re.search(r"No space left|File too large", said):
        problems.append(f"it does not say why: {said[-600:]}")
    if status not in (0, 1, 2):
        problems.append(f"it ended with {status}")
    return problems

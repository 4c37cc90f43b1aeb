"""Disks that are full before a run is done, and have room for the next: full ones, and those of a quota."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from runs import Run

from results import Results

ROOM = 1.2  # of what the reference takes: a checkpoint and its successor need more, for a while
SMALLEST_B = 200_000
BLOCK_B = 4096


class Disk(Protocol):
    """A kind of disk that can be full.

    Args:
        what: it is called in the table.
        said: of what it refuses, a pattern.
    """

    what: str
    said: str

    def make(self, folder: Path, size: int) -> None:
        """Have a folder hold so many bytes."""

    def enlarge(self, folder: Path, size: int) -> None:
        """Have a folder hold more."""

    def remove(self, folder: Path) -> None:
        """Take what was made away."""


class Memory:
    """File systems in memory, which root can mount."""

    what, said = "full disks (tmpfs)", "No space left"

    def make(self, folder: Path, size: int) -> None:
        """Mount one."""
        call("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder)

    def enlarge(self, folder: Path, size: int) -> None:
        """Mount it anew."""
        call("mount", "-t", "tmpfs", "-o", f"remount,size={size}", "tmpfs", folder)

    def remove(self, folder: Path) -> None:
        """Unmount it."""
        call("umount", folder)


class Quota:
    """File systems that have room, but a quota on them, which root can mount: btrfs has them built in."""

    what, said = "quotas (btrfs)", "quota exceeded"
    image_b = 256_000_000  # holes but for what is written

    def make(self, folder: Path, size: int) -> None:
        """Mount one, and limit it."""
        image = folder.with_suffix(".btrfs")
        image.touch()
        os.truncate(image, self.image_b)
        call("mkfs.btrfs", "-q", image)
        call("mount", "-o", "loop", image, folder)
        call("btrfs", "quota", "enable", folder)
        self.enlarge(folder, size)

    def enlarge(self, folder: Path, size: int) -> None:
        """Limit it otherwise."""
        call("btrfs", "qgroup", "limit", str(size), folder)

    def remove(self, folder: Path) -> None:
        """Unmount it."""
        call("umount", folder)


class FileSizes:
    """Files that may not be larger than so much, for those who cannot mount."""

    what, said = "full disks (a limit of the size of files)", "File too large"

    def make(self, folder: Path, size: int) -> None:
        """Do nothing: a run limits itself."""

    def enlarge(self, folder: Path, size: int) -> None:
        """Do nothing: the next run does not."""

    def remove(self, folder: Path) -> None:
        """Do nothing."""


def list_disks() -> list[Disk]:
    """Return the kinds of disks that can be had here."""
    mounted = [disk for disk in (Memory(), Quota()) if can_make(disk)]
    return [*mounted] if any(isinstance(disk, Memory) for disk in mounted) else [FileSizes(), *mounted]


def can_make(disk: Disk) -> bool:
    """Tell whether a kind of disk can be had: by root, and not in every container."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "probe"
        folder.mkdir()
        try:
            disk.make(folder, SMALLEST_B)
        except (OSError, subprocess.CalledProcessError):
            return False
        disk.remove(folder)
        return True


def call(*words: str | Path) -> None:
    """Call a command of the system."""
    subprocess.run(list(map(str, words)), check=True, capture_output=True)


def fill(disk: Disk, folder: Path, count: int, reference: Results) -> Iterator[tuple[Results, list[str]]]:
    """Yield what was made once there was room, and what was wrong with how the full disk was told.

    Args:
        disk: of which kind.
        folder: below which they are.
        count: of disks, of more and more room.
        reference: what is made undisturbed.
    """
    sizes = [path.stat().st_size for path in reference.folder.rglob("*") if path.is_file()]
    whole = int(ROOM * sum(-(-size // BLOCK_B) * BLOCK_B for size in sizes))
    for number in range(count):
        share = (number + 1) / (count + 1)
        results = Results(folder / str(number))  # what is said of it goes beside it, where there is room
        results.folder.mkdir(parents=True)
        disk.make(results.folder, int(SMALLEST_B + share * (whole - SMALLEST_B)))
        try:
            limit = int(share * max(sizes)) if isinstance(disk, FileSizes) else None
            full = Run(results.folder, limit=limit, name="-full").wait()
            problems = judge(full.status, full.said, disk.said)
            disk.enlarge(results.folder, 10 * whole)
            again = Run(results.folder).wait()
            problems += [f"then it ended with {again.status}: {again.said[-300:]}"] if again.status else []
            yield results, [f"disk {number}: {problem}" for problem in problems]
        finally:
            disk.remove(results.folder)


def judge(status: int, said: str, why: str) -> list[str]:
    """Return what is wrong with how a run ended whose disk was full.

    Args:
        status: its exit status.
        said: what it said.
        why: what it should say.
    """
    problems = []
    if "Traceback" in said:
        problems.append(f"a traceback: {said[-600:]}")
    if status and why not in said:
        problems.append(f"it does not say why: {said[-600:]}")
    if status not in (0, 1, 2):
        problems.append(f"it ended with {status}")
    return problems

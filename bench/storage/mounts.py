"""Which file system a folder is on, and whether the kernel's locks on it reach other machines."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

MOUNTS = Path("/proc/self/mountinfo")  # of Linux; see proc_pid_mountinfo(5)
OF_ONE_MACHINE = {
    "aufs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "fuseblk", "jfs", "ntfs", "ntfs3", "overlay",
    "ramfs", "reiserfs", "rootfs", "tmpfs", "vfat", "xfs", "zfs",
}  # fmt: skip
REACHING = {"ceph", "gfs2", "gpfs", "ocfs2"}  # with their usual options
UNLESS = {  # options by which locks stay on one machine; nfs(5), mount.cifs(8)
    "nfs": {"nolock", "local_lock=all", "local_lock=flock"},
    "nfs4": {"nolock", "local_lock=all", "local_lock=flock"},
    "cifs": {"nobrl", "nolock"},
    "smb3": {"nobrl", "nolock"},
}
ONLY_WITH = {"lustre": "flock"}  # mount.lustre(8): localflock and noflock are the others


class Mount(NamedTuple):
    """A mounted file system."""

    point: Path
    kind: str
    options: Collection[str]


def describe_unreached(folder: Path) -> str:
    """Return which file system a folder is on if its locks may not reach other machines, or nothing.

    Where it cannot be known (no Linux), nothing: locks are then taken to do.

    Args:
        folder: it need not exist.
    """
    mount = find_mount(folder.absolute().resolve(), _list_mounts())
    return mount.kind if mount and not reaches(mount.kind, mount.options) else ""


def reaches(kind: str, options: Collection[str]) -> bool:
    """Tell whether locks reach every machine that has the file system: those of one machine always do."""
    if kind in UNLESS:
        return not UNLESS[kind] & set(options)
    if kind in ONLY_WITH:
        return ONLY_WITH[kind] in options
    return kind in OF_ONE_MACHINE or kind in REACHING


def find_mount(folder: Path, mounts: Collection[Mount]) -> Mount | None:
    """Return the mount that a folder is on: the last of the deepest ones above it."""
    above = [mount for mount in mounts if folder == mount.point or mount.point in folder.parents]
    deepest = max((len(mount.point.parts) for mount in above), default=0)
    return next((mount for mount in reversed(above) if len(mount.point.parts) == deepest), None)


def parse_mounts(text: str) -> list[Mount]:
    """Return the mounts of a `mountinfo` file."""
    mounts = []
    for line in filter(None, text.split("\n")):  # names may have any other sign that ends a line or a word
        before, _, after = line.partition(" - ")
        own, (kind, _, shared) = before.split(" "), after.split(" ", 2)
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), own[4])  # a space is \040
        mounts.append(Mount(Path(point), kind, {*own[5].split(","), *shared.split(",")}))
    return mounts


def _list_mounts() -> list[Mount]:
    try:
        return parse_mounts(MOUNTS.read_text(encoding="utf-8", errors="surrogateescape"))
    except (OSError, ValueError, IndexError):
        return []

"""Claims: of several processes, one at a time is at what has a key.

A claim is a lock of the kernel where such locks reach every machine that has the folder, and a lease
elsewhere. A lease is a file that only one process can create. Its owner touches it every few seconds; one
that was not touched for a minute is taken over, and at once where its owner has ended on this machine. An
owner that only slept has then lost it: it finds that out before it publishes anything, and what it writes
until then lies in a folder of its own. So a lease that is taken over may waste time, and damages nothing.

All processes must claim in the same way, so the first one writes which it is into the folder.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import secrets
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from filelock import FileLock, Timeout

from bench.bounded_files import read_bounded
from bench.errors import BadValue, ClaimLost
from bench.keys import digest
from bench.storage.mounts import describe_unreached
from bench.storage.presence import is_there

LOCK, LEASE = KINDS = ("lock", "lease")
CHOICE = "claims"  # the file that says which kind there is
BEAT_S = 5.0  # our choice: rare enough for a shared folder with a thousand owners
SILENT_S = 60.0  # twelve beats missed
LOOK_S = 1.0  # between looks at a claim that another has

log = logging.getLogger("bench")


class Claim:
    """A claim that this process has, on a lock: nobody can take it away.

    Args:
        suffix: of the folder in which its owner works.
    """

    suffix = ""

    def check(self) -> None:
        """Refuse to go on where the claim was taken over."""


class Claims:
    """The claims below a folder.

    Args:
        folder: of the files that they are made of.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def kind(self) -> str:
        """Which kind of claims the folder has: what it says, or else what its file system allows."""
        with contextlib.suppress(OSError, ValueError):
            said = read_bounded(self.folder / CHOICE).strip()
            if said in KINDS:
                return said
        unreached = describe_unreached(self.folder)
        if unreached:
            log.warning(
                "%s: it is on %s, whose locks may not reach other machines. Claims are leases; "
                "--claims lock says that they do.", self.folder, unreached
            )  # fmt: skip
        return LEASE if unreached else LOCK

    def resolve(self, kind: str) -> str:
        """Return the kind that is meant.

        Args:
            kind: one of `KINDS`, or `auto` for what the folder says or its file system allows.

        Raises:
            BadValue: the folder has claims of the other kind.
        """
        path = self.folder / CHOICE
        if kind in ("auto", self.kind) or not is_there(path):
            return self.kind if kind == "auto" else kind
        raise BadValue(
            f"--claims: {kind} was asked for, and the runs in {self.folder.parent.parent} have {self.kind}. "
            f"Leave it out; or where nothing runs there, delete {path}."
        )

    def choose(self, kind: str) -> None:
        """Have every process claim in one way from now on; see `resolve`."""
        self.kind = self.resolve(kind)
        with contextlib.suppress(FileExistsError):
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / CHOICE).open("x", encoding="utf-8") as file:
                file.write(f"{self.kind}\n")

    @contextlib.contextmanager
    def attempt(self, key: str) -> Iterator[Claim | None]:
        """Claim a key for the length of the block; none where another process has it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.kind == LEASE:
            lease = Lease(self.folder, key)
            taken = lease.take()
            try:
                yield lease if taken else None
            finally:
                lease.release()
            return
        lock = FileLock(self.folder / f"{key}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            yield None
            return
        try:
            yield Claim()
        finally:
            lock.release()

    def is_held(self, key: str) -> bool:
        """Tell whether a process is at a key; nothing is written where none ever was."""
        try:
            if self.kind == LEASE:
                return Lease(self.folder, key).is_alive
            if not is_there(self.folder / f"{key}.lock"):
                return False
            with self.attempt(key) as claim:
                return claim is None
        except OSError:  # it is another user's: nobody here can tell
            return True

    @contextlib.contextmanager
    def hold(self, key: str) -> Iterator[Claim]:
        """Claim a key for the length of the block, and wait until that can be."""
        if self.kind == LOCK:  # the kernel wakes this process
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / f"{key}.lock"):
                yield Claim()
            return
        while True:
            with self.attempt(key) as claim:
                if claim:
                    yield claim
                    return
            time.sleep(LOOK_S)


class Lease(Claim):
    """A file that only its owner has, for as long as it is touched.

    Args:
        folder: where it is.
        key: that it is a claim of.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.folder, self.key = folder, key
        self.path = folder / f"{key}.lease"
        self.token = f"{socket.gethostname()}-{_processes_here()}-{os.getpid()}-{secrets.token_hex(8)}"
        self.suffix = f".{self.token}"
        self._over = threading.Event()
        self._held = False

    def take(self) -> bool:
        """Create the file, in place of one that is silent; tell whether this process has it now."""
        self._held = self._create() or (self._remove_silent() and self._create())
        if self._held:
            threading.Thread(target=self._beat, name="lease", daemon=True).start()
        return self._held

    @property
    def is_alive(self) -> bool:
        """Whether the file is there, and was touched a short time ago."""
        found = self._look()
        return found is not None and _clock_of(self.folder) - found[1] <= SILENT_S

    def release(self) -> None:
        """Give the file up, if it is still there."""
        self._over.set()
        if self._held and self._is_own():
            with contextlib.suppress(OSError):
                self.path.unlink()
        self._held = False

    def check(self) -> None:
        """Refuse to go on where the lease was taken over.

        Raises:
            ClaimLost: it was.
        """
        if not self._is_own():
            raise ClaimLost(
                f"{self.path}: this process gave no sign of life for {SILENT_S:g} s, and another took over "
                "what it was at. What that one makes is taken."
            )

    def _create(self) -> bool:
        try:
            with self.path.open("x", encoding="utf-8") as file:
                file.write(self.token)
        except FileExistsError:
            return False
        return True

    def _remove_silent(self) -> bool:
        """Remove the file where its owner is silent; tell whether there is none any more.

        Of several that find it silent, one renames it. Where that was the file of an owner who has just
        created it, it is put back; if it cannot be, that owner finds that it was taken over.
        """
        found = self._look()
        if found is None:
            return True
        token, touched = found
        if not _has_ended(token) and _clock_of(self.folder) - touched <= SILENT_S:
            return False
        aside = self.folder / f".{self.path.name}.{secrets.token_hex(8)}"
        try:
            self.path.rename(aside)
        except OSError:  # another was first
            return False
        if aside.read_text(encoding="utf-8") != token:
            with contextlib.suppress(OSError):
                os.link(aside, self.path)
        aside.unlink()
        return True

    def _look(self) -> tuple[str, float] | None:
        """Return whose the file is and when it was touched last; none where there is none."""
        try:
            return read_bounded(self.path), self.path.stat().st_mtime
        except (OSError, ValueError):
            return None

    def _is_own(self) -> bool:
        found = self._look()
        return found is not None and found[0] == self.token

    def _beat(self) -> None:
        while not self._over.wait(BEAT_S):
            with contextlib.suppress(OSError):
                if not self._is_own():
                    return
                os.utime(self.path)


@functools.cache
def _processes_here() -> str:
    """Return what tells the processes that this one sees from those of other machines and containers."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return digest([boot, str(Path("/proc/self/ns/pid").readlink())])
    except OSError:
        return ""  # not Linux


def _has_ended(token: str) -> bool:
    """Tell whether the owner of a lease was a process that could be seen here, and is no more."""
    _, _, rest = token.partition(f"-{_processes_here()}-") if _processes_here() else ("", "", "")
    pid = rest.partition("-")[0]
    if not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)
    except (OSError, OverflowError) as error:
        return isinstance(error, ProcessLookupError)
    return False


def adopt_work(folder: Path, key: str, own: Path) -> None:
    """Copy what earlier owners of a key have left, the latest of it, into the folder of a new owner.

    It is a copy because an earlier owner may only sleep: its files stay its own.

    Args:
        folder: of the work.
        key: that was claimed.
        own: the folder of the owner, which is there.
    """
    left = [path for path in (folder / key, *folder.glob(f"{key}.*")) if path.is_dir() and path != own]
    left = [path for path in left if any(path.iterdir())]
    if left and not any(own.iterdir()):
        latest = max(left, key=lambda path: path.stat().st_mtime)
        for path in latest.iterdir():
            with contextlib.suppress(OSError):  # its owner is awake again
                shutil.copy2(path, own / path.name)


def forget_work(folder: Path, key: str) -> None:
    """Remove what owners of a key have left, once what it was for is there."""
    for path in (folder / key, *folder.glob(f"{key}.*")):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)


def _clock_of(folder: Path) -> float:
    """Return the time of the file system, by which files are touched."""
    with tempfile.TemporaryFile(dir=folder) as file:
        return os.fstat(file.fileno()).st_mtime

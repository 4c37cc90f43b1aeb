"""Digests of what is in files, and an index that remembers them: a file is read once, not once a run.

    DATA_DIR/digests/<folder>.bin     a stamp and a digest, file after file, and the digest of all of that

A stamp is of a file's size, times and inode. A file with a stamp that is known has the content it had; any
other is read. The digest alone goes into a fingerprint, so a copy on another machine has the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from bench.api import CHANGED, BadData, digest, file_stamp, stamp_of

Stamps = NDArray[np.int64]
Entries = NDArray[np.void]
Places = NDArray[np.intp]

ENTRY = np.dtype([("stamp", "<i8"), ("digest", "u1", (32,))])
DIGEST_BYTES = 32
SETTLED_NS = 2_000_000_000  # a file system may count time in steps of two seconds, as FAT does
CHUNK = 64  # files a task
PROGRESS_FROM = 5_000
BLOCK = 1 << 16  # bytes read at a time: memory for more costs more than reading a small file


def digest_files(files: Sequence[str | Path], stamps: Stamps, index: Path, what: str) -> list[str]:
    """Return the SHA-256 of each file, in hexadecimal digits; of what is no file it is empty.

    Args:
        files: paths of n files.
        stamps: (n,), of each when it was found, 0 of what is no file.
        index: of digests; it is made if it can be, and only saves time.
        what: the files are of: how progress names it.
    """
    known = _read_index(index)
    entries = np.zeros(len(stamps), dtype=ENTRY)
    entries["stamp"] = stamps
    found = _look_up(known, entries)
    settled = _read_files(files, np.flatnonzero(~found & (stamps != 0)), entries, what)
    if len(settled):
        _write_index(index, np.concatenate([entries[found], entries[settled]]))
    digits, each = entries["digest"].tobytes().hex(), 2 * DIGEST_BYTES
    return [digits[each * i : each * (i + 1)] if stamp else "" for i, stamp in enumerate(stamps.tolist())]


def index_of(folder: Path, data_dir: Path) -> Path:
    """Return where the digests of the files in a folder are kept."""
    return data_dir / "digests" / f"{digest(str(folder.resolve()))}.bin"


def refuse_changed(name: str, stamps: Mapping[Path, int]) -> None:
    """Refuse files, when they have been read, that are not those any more that a fingerprint is of.

    Args:
        name: of the dataset.
        stamps: of each file before its content went into the fingerprint.

    Raises:
        BadData: one has another stamp.
    """
    changed = next((path for path, stamp in stamps.items() if file_stamp(path) != stamp), None)
    if changed is not None:
        raise change_error(name, changed)


def change_error(name: str, path: str | Path) -> BadData:
    """Return the error about a file that is not the one any more that a fingerprint is of."""
    return BadData(f"{name}: {path} cannot be used: {CHANGED}. Run it again.")


def _look_up(known: Entries, entries: Entries) -> NDArray[np.bool_]:
    """Fill in the digests of stamps that are known, and return which these are."""
    if not len(known):
        return np.zeros(len(entries), dtype=bool)
    place = np.searchsorted(known["stamp"], entries["stamp"]) % len(known)
    found: NDArray[np.bool_] = known["stamp"][place] == entries["stamp"]
    entries["digest"][found] = known["digest"][place[found]]
    return found


def _read_files(files: Sequence[str | Path], unread: Places, entries: Entries, what: str) -> Places:
    """Digest the files at some places into their entries, and return the places that may be remembered.

    One that was written to a moment ago may be written to again without a change of its times.
    """
    import torch  # it counts the threads that this process may have

    settled = np.zeros(len(entries), dtype=bool)
    visible = len(unread) > PROGRESS_FROM and sys.stderr.isatty()
    bar = tqdm(total=len(unread), desc=f"{what}: reading", unit=" files", leave=False, disable=not visible)

    def work(start: int) -> None:
        began = time.time_ns()
        for i in unread[start : start + CHUNK].tolist():
            content, last_change = digest_file(files[i], int(entries["stamp"][i]))
            entries["digest"][i] = np.frombuffer(content, dtype=np.uint8)
            settled[i] = last_change is not None and last_change + SETTLED_NS < began
        bar.update(min(CHUNK, len(unread) - start))

    with bar, ThreadPoolExecutor(torch.get_num_threads()) as threads:
        list(threads.map(work, range(0, len(unread), CHUNK)))
    return np.flatnonzero(settled)


def digest_file(file: str | Path, stamp: int) -> tuple[bytes, int | None]:
    """Return the digest of a file and when it last changed, in ns; no time if it has another stamp."""
    content, last_change = hashlib.sha256(), None
    with contextlib.suppress(OSError):  # what cannot be read is found by decoding
        number = os.open(file, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        try:
            while block := os.read(number, BLOCK):
                content.update(block)
            status = os.fstat(number)
        finally:
            os.close(number)
        if stamp_of(status) == stamp:
            last_change = max(status.st_mtime_ns, status.st_ctime_ns)
    return content.digest(), last_change


def _read_index(index: Path) -> Entries:
    """Return the entries of an index, by stamp; none where there is no whole one."""
    try:
        content = index.read_bytes()
    except OSError:
        content = b""
    body, end = content[:-DIGEST_BYTES], content[-DIGEST_BYTES:]
    if hashlib.sha256(body).digest() != end or len(body) % ENTRY.itemsize:
        return np.empty(0, dtype=ENTRY)
    entries = np.frombuffer(body, dtype=ENTRY)
    return entries[np.argsort(entries["stamp"], kind="stable")]


def _write_index(index: Path, entries: Entries) -> None:
    """Replace an index, if the folder can be written to."""
    draft = index.with_suffix(f".{os.getpid()}.draft")
    with contextlib.suppress(OSError):
        index.parent.mkdir(parents=True, exist_ok=True)
        try:
            body = entries.tobytes()
            with draft.open("wb") as file:
                file.write(body + hashlib.sha256(body).digest())
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, index)
        finally:
            draft.unlink(missing_ok=True)

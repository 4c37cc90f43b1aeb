"""Have C compiled once a machine and user, and load it, where there is a compiler."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

SWITCH = "BENCH_COMPILE"  # in the environment: 0 compiles and loads nothing
COMPILERS = ("cc", "gcc", "clang")
FLAGS = ("-std=c11", "-shared", "-fPIC")
PATIENCE = 60  # seconds that a compiler may take


def load_c(source: Path, flags: Sequence[str]) -> ctypes.CDLL | None:
    """Return a library compiled from a file of C, or nothing where that cannot be: use it only for speed.

    It is compiled on first use and kept in the user's own cache, `$XDG_CACHE_HOME/ssl-bench` or
    `~/.cache/ssl-bench`, by a name that stands for the source, the flags and the kind of machine. Processes
    may compile at once: a library appears there whole.

    Args:
        source: the file.
        flags: for the compiler, which make code that runs on this processor.
    """
    if not sys.platform.startswith("linux") or os.environ.get(SWITCH) == "0":
        return None
    try:
        return ctypes.CDLL(str(_compiled(source, flags)))
    except (OSError, RuntimeError, subprocess.SubprocessError):  # no compiler, home, room or right to run it
        return None


def _compiled(source: Path, flags: Sequence[str]) -> Path:
    """Return the library of a source, compiled now if it never was.

    Raises:
        OSError: there is no compiler, or no folder for the library.
        RuntimeError: the user has no home.
        SubprocessError: the compiler refuses, or takes too long.
    """
    options = [*FLAGS, *flags]
    machine = [*options, sys.platform, platform.machine()]
    digest = hashlib.sha256(source.read_bytes() + "\0".join(machine).encode()).hexdigest()
    folder = _own_folder()
    library = folder / f"{source.stem}-{digest[:32]}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory(dir=folder) as unfinished:
            made = Path(unfinished) / library.name
            _compile([*options, "-o", str(made), str(source), "-lm"])
            with made.open("rb") as file:
                os.fsync(file.fileno())
            made.replace(library)
    return library


def _own_folder() -> Path:
    """Return a folder that nobody but this user can write in.

    Raises:
        OSError: it cannot be made, or another user owns it or may write in it.
        RuntimeError: the user has no home.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME", ""))  # a relative one is to be ignored, says its standard
    folder = (cache if cache.is_absolute() else Path.home() / ".cache") / "ssl-bench"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise PermissionError(f"{folder} is not this user's alone")
    return folder


def _compile(options: Sequence[str]) -> None:
    """Run the compiler.

    Raises:
        OSError: there is none.
        SubprocessError: it refuses, or takes too long.
    """
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    if compiler is None:
        raise FileNotFoundError("no C compiler is installed")
    quiet = subprocess.DEVNULL
    subprocess.run(  # noqa: S603 - of our own source
        [compiler, *options], check=True, stdin=quiet, stdout=quiet, stderr=quiet, timeout=PATIENCE
    )

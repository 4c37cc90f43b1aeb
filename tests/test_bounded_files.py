"""What may be a stranger's is read where it is a file of a size that can be read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from odd_files import KINDS, make_odd

from bench.bounded_files import is_file, read_bounded
from bench.errors import BadData
from bench.reporting.sidecar import read_sidecar
from bench.storage.artifact_files import read_about
from bench.storage.claims import LOCK, Claims, Lease
from bench.storage.submissions import list_submissions


def test_a_file_is_read_up_to_its_bound(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("größe")

    assert read_bounded(path) == "größe"
    assert read_bounded(path, most=7) == "größe"
    with pytest.raises(OSError, match="too large"):
        read_bounded(path, most=6)
    assert (is_file(path), is_file(path, most=7), is_file(path, most=6)) == (True, True, False)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    path = make_odd(tmp_path / "odd", kind)

    with pytest.raises(OSError, match=r"Not a file|Is a directory|too large|Too many levels"):
        read_bounded(path, most=1000)


READERS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "what an artifact says of itself": ("about.json", read_about),
    "a sidecar": ("t.keys.json", lambda folder: read_sidecar(folder / "t.keys.json")),
    "a submission": ("submissions/a.json", lambda folder: list(list_submissions(folder))),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", READERS)
def test_no_reader_waits_for_a_pipe_or_reads_a_device(tmp_path: Path, name: str, kind: str) -> None:
    file, read = READERS[name]
    make_odd(tmp_path / file, kind)

    with pytest.raises((OSError, BadData)):
        read(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_what_says_the_kind_of_claims_or_who_has_one_may_be_no_file(tmp_path: Path, kind: str) -> None:
    make_odd(tmp_path / "claims", kind)
    make_odd(tmp_path / "key.lease", kind)

    assert Claims(tmp_path).kind == LOCK
    assert not Lease(tmp_path, "key").is_alive


def test_a_lease_is_not_taken_for_one_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "key.lease").write_bytes(os.urandom(3) + b"\xff")

    assert not Lease(tmp_path, "key").is_alive

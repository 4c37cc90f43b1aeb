"""An artifact is there whole, or it is not there."""

from __future__ import annotations

import json
import logging
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from odd_files import KINDS, make_odd

from bench.errors import BadData
from bench.storage import artifacts
from bench.storage.artifacts import MANIFEST, ArtifactStore


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path)


def write_artifact(store: ArtifactStore, key: str = "key", content: bytes = b"content") -> Path:
    with store.locked(key), store.write(key) as folder:
        (folder / "file").write_bytes(content)
        (folder / "other").write_bytes(b"")
    return store.folder / key


def write_and_die(store: ArtifactStore, name: str, content: bytes) -> None:
    """Start to write an artifact, as a process does that dies before it is whole."""
    with store.write("key") as folder:
        (folder / name).write_bytes(content)
        raise RuntimeError("power cut")


def test_an_artifact_that_was_written_is_found(store: ArtifactStore) -> None:
    folder = write_artifact(store)

    assert store.find("key") == folder
    assert store.has("key")
    assert (folder / "file").read_bytes() == b"content"
    assert {path.name for path in folder.iterdir()} == {"file", "other", MANIFEST}


def test_an_artifact_that_was_not_written_is_not_found(store: ArtifactStore) -> None:
    assert store.find("key") is None
    assert not store.has("key")
    assert not store.folder.exists()


def test_an_error_while_writing_leaves_no_artifact(store: ArtifactStore) -> None:
    with pytest.raises(RuntimeError, match="power cut"):
        write_and_die(store, "file", b"half")

    assert store.find("key") is None
    assert not (store.folder / "key").exists()


def test_the_next_process_gets_what_a_dead_one_left(store: ArtifactStore) -> None:
    with pytest.raises(RuntimeError, match="power cut"):
        write_and_die(store, "checkpoint", b"state")
    with store.write("key") as folder:
        content = (folder / "checkpoint").read_bytes()

    assert content == b"state"


def test_a_process_that_died_after_its_manifest_does_not_damage_the_next(store: ArtifactStore) -> None:
    with pytest.raises(RuntimeError, match="power cut"):
        write_and_die(store, MANIFEST, b'{"files": {}}')
    folder = write_artifact(store)

    assert store.find("key") == folder


FILE_DAMAGED = "the artifact is damaged: file is not what its manifest says"
NO_MANIFEST = "the artifact is damaged: it has no manifest that can be read"
NAMELESS = "the artifact does not say of which key it is, as those of the first release: see `bench upgrade`"


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda folder: (folder / "file").write_bytes(b"contemt"), FILE_DAMAGED),
        (lambda folder: (folder / "file").write_bytes(b"cont"), FILE_DAMAGED),
        (lambda folder: (folder / "file").unlink(), FILE_DAMAGED),
        (lambda folder: (folder / MANIFEST).unlink(), NO_MANIFEST),
        (lambda folder: (folder / MANIFEST).write_text((folder / MANIFEST).read_text()[:40]), NO_MANIFEST),
        (lambda folder: write_manifest(folder, {"file": {"bytes": 7}}), FILE_DAMAGED),
        (lambda folder: write_manifest(folder, {"file": 7}), FILE_DAMAGED),
        (lambda folder: (folder / MANIFEST).write_text("[]"), NO_MANIFEST),
        (lambda folder: write_manifest(folder, {}, key="other"), "the artifact is of another key, other"),
        (lambda folder: write_manifest(folder, {}, key=None), NAMELESS),
    ],
    ids=["a flipped byte", "a short file", "a missing file", "no manifest", "a short manifest", "no digest",
         "no sizes", "another manifest", "another key", "no key"],
)  # fmt: skip
def test_an_artifact_that_cannot_be_believed_is_set_aside_with_the_reason(
    store: ArtifactStore,
    caplog: pytest.LogCaptureFixture,
    damage: Callable[[Path], object],
    reason: str,
) -> None:
    folder = write_artifact(store)
    damage(folder)
    with caplog.at_level(logging.WARNING):
        result = store.find("key")

    assert result is None
    assert [record.message for record in caplog.records] == [
        f"{folder}: {reason}. It is set aside as key.rejected, and made again."
    ]
    assert (folder.parent / "key.rejected" / "other").exists()
    assert store.find("key") is None
    assert store.find(write_artifact(store).name) == folder


def write_manifest(folder: Path, files: dict[str, Any], key: str | None = "key") -> None:
    (folder / MANIFEST).write_text(json.dumps({"key": key, "files": files}))


def test_the_folder_of_another_key_is_not_believed_manifest_and_all(store: ArtifactStore) -> None:
    other, folder = write_artifact(store, "other"), store.folder / "key"
    shutil.copytree(other, folder)

    assert not store.has("key")
    assert store.find("key") is None
    assert store.find("other") == other


def test_what_is_set_aside_never_replaces_what_was(store: ArtifactStore) -> None:
    for content in (b"first", b"second"):
        (write_artifact(store, content=content) / "other").unlink()
        store.find("key")
    names = {
        path.name: (path / "file").read_bytes() for path in store.folder.iterdir() if path.name != ".work"
    }

    assert names == {"key.rejected": b"first", "key.rejected-2": b"second"}


@pytest.mark.parametrize("broken", ["sync", "write_durably", "_hash"])
def test_an_error_inside_the_write_leaves_the_artifact_that_was_there(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    folder = write_artifact(store, content=b"old")

    def fail(*_: object) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(artifacts, broken, fail)
        with pytest.raises(OSError, match="no space left"):
            write_artifact(store, content=b"new")

    assert store.find("key") == folder
    assert (folder / "file").read_bytes() == b"old"


def test_an_artifact_has_its_name_only_once_its_manifest_is_written(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    write = artifacts.write_durably

    def watch(path: Path, content: bytes) -> None:
        seen.append((store.folder / "key").exists())
        write(path, content)

    monkeypatch.setattr(artifacts, "write_durably", watch)
    write_artifact(store)

    assert seen == [False]


def test_a_missing_file_is_seen_without_reading_the_others(store: ArtifactStore) -> None:
    (write_artifact(store) / "other").unlink()

    assert not store.has("key")


def test_writing_again_replaces_what_is_there(store: ArtifactStore) -> None:
    write_artifact(store, content=b"old and longer")
    folder = write_artifact(store, content=b"new")

    assert store.find("key") == folder
    assert (folder / "file").read_bytes() == b"new"


def test_a_second_writer_waits_for_the_first(store: ArtifactStore) -> None:
    order: list[str] = []
    locked = threading.Event()

    def first() -> None:
        with store.locked("key"):
            locked.set()
            time.sleep(0.1)
            writer = "first" if store.find("key") is None else "found"
            with store.write("key") as folder:
                (folder / "file").write_text(writer)
            order.append(writer)

    thread = threading.Thread(target=first)
    thread.start()
    locked.wait()
    with ArtifactStore(store.folder.parent).locked("key"):
        order.append("second" if store.find("key") is None else "found")
    thread.join()

    assert order == ["first", "found"]


def test_other_keys_are_not_locked(store: ArtifactStore) -> None:
    with store.locked("one"), store.locked("other"):
        write_artifact(store, "third")

    assert store.has("third")


def test_one_of_another_user_that_must_not_be_read_is_no_damage_and_stays(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.write("key") as folder:
        (folder / "file").write_text("content")
    closed = store.folder / "key" / "file"
    access, read = artifacts.os.access, artifacts._hash  # noqa: SLF001 - reading is refused there

    def refuse(path: Path) -> str:
        if path == closed:
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(artifacts, "_hash", refuse)  # for whoever runs this may be root
    monkeypatch.setattr(artifacts.os, "access", lambda path, mode: path != closed and access(path, mode))

    with pytest.raises(
        BadData, match=r"file: it is another user's, and must not be read\. Have them share it"
    ):
        store.find("key")
    assert closed.read_text() == "content"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [MANIFEST, "file"])
def test_what_is_no_file_is_damage_and_neither_waited_for_nor_read(
    store: ArtifactStore, name: str, kind: str
) -> None:
    folder = write_artifact(store)
    (folder / name).unlink()
    make_odd(folder / name, kind)

    assert not store.has("key")
    assert not store.is_whole("key", "file")
    assert store.find_damage("key") == (NO_MANIFEST if name == MANIFEST else FILE_DAMAGED)
    assert not store.is_nameless("key")
    assert store.keys() == []
    assert store.find("key") is None


def test_a_file_of_more_bytes_than_a_reader_takes_is_not_read(store: ArtifactStore) -> None:
    write_artifact(store, content=b"content")

    assert store.is_whole("key", "file", most=7)
    assert not store.is_whole("key", "file", most=6)


def test_what_a_killed_writer_left_of_a_manifest_is_no_file_of_the_next_artifact(
    store: ArtifactStore,
) -> None:
    half = f".manifest.{'0' * 16}.tmp"
    with pytest.raises(RuntimeError, match="power cut"):
        write_and_die(store, half, b'{"key')
    folder = write_artifact(store)

    assert {path.name for path in store.list_files("key")} == {"file", "other"}
    assert not (folder / half).exists()

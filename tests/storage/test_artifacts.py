"""An artifact is there whole, or it is not there."""

from __future__ import annotations

import json
import logging
import shutil
import threading
import time
from pathlib import Path

import pytest

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


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "file").write_bytes(b"contemt"),
        lambda folder: (folder / "file").write_bytes(b"cont"),
        lambda folder: (folder / "file").unlink(),
        lambda folder: (folder / MANIFEST).unlink(),
        lambda folder: (folder / MANIFEST).write_text((folder / MANIFEST).read_text()[:40]),
        lambda folder: (folder / MANIFEST).write_text('{"files": {"file": {"bytes": 7}}}'),
        lambda folder: (folder / MANIFEST).write_text('{"files": {"file": 7}}'),
        lambda folder: (folder / MANIFEST).write_text("[]"),
    ],
    ids=["a flipped byte", "a short file", "a missing file", "no manifest", "a short manifest", "no digest",
         "no sizes", "another manifest"],
)  # fmt: skip
def test_a_damaged_artifact_is_removed_with_a_warning(
    store: ArtifactStore, caplog: pytest.LogCaptureFixture, damage: object
) -> None:
    folder = write_artifact(store)
    assert callable(damage)
    damage(folder)
    with caplog.at_level(logging.WARNING):
        result = store.find("key")

    assert result is None
    assert [record.message for record in caplog.records] == [
        f"{folder}: the artifact is damaged. It is made again."
    ]
    assert store.find("key") is None
    assert store.find(write_artifact(store).name) == folder


def test_a_missing_file_is_seen_without_reading_the_others(store: ArtifactStore) -> None:
    (write_artifact(store) / "other").unlink()

    assert not store.has("key")


def test_another_keys_artifact_is_made_again(store: ArtifactStore, caplog: pytest.LogCaptureFixture) -> None:
    shutil.copytree(write_artifact(store, "other"), store.folder / "key")

    assert not store.has("key")
    assert store.find("key") is None
    assert "the artifact is damaged. It is made again." in caplog.text
    assert store.has("other")


def test_an_artifact_from_before_manifests_had_keys_is_found(store: ArtifactStore) -> None:
    folder = write_artifact(store)
    manifest = json.loads((folder / MANIFEST).read_text())
    del manifest["key"]
    (folder / MANIFEST).write_text(json.dumps(manifest))

    assert store.has("key")
    assert store.find("key") == folder


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

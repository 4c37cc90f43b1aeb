"""An artifact is there whole, or it is not there."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

import pytest

from bench.storage.artifacts import MANIFEST, ArtifactStore


@pytest.fixture
def cache(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path)


def made(cache: ArtifactStore, key: str = "key", content: bytes = b"content") -> Path:
    with cache.locked(key), cache.write(key) as folder:
        (folder / "file").write_bytes(content)
        (folder / "other").write_bytes(b"")
    return cache.folder / key


def dies(cache: ArtifactStore, name: str, content: bytes) -> None:
    """Make an artifact as a process does that dies before it is whole."""
    with cache.write("key") as folder:
        (folder / name).write_bytes(content)
        raise RuntimeError("power cut")


def test_what_was_made_is_found(cache: ArtifactStore) -> None:
    folder = made(cache)

    assert cache.find("key") == folder
    assert cache.has("key")
    assert (folder / "file").read_bytes() == b"content"
    assert {path.name for path in folder.iterdir()} == {"file", "other", MANIFEST}


def test_what_was_not_made_is_not_found(cache: ArtifactStore) -> None:
    assert cache.find("key") is None
    assert not cache.has("key")
    assert not cache.folder.exists()


def test_what_ends_in_an_error_leaves_no_artifact(cache: ArtifactStore) -> None:
    with pytest.raises(RuntimeError, match="power cut"):
        dies(cache, "file", b"half")

    assert cache.find("key") is None
    assert not (cache.folder / "key").exists()


def test_what_a_dead_process_left_is_given_to_the_next(cache: ArtifactStore) -> None:
    with pytest.raises(RuntimeError, match="power cut"):
        dies(cache, "checkpoint", b"state")
    with cache.write("key") as folder:
        found = (folder / "checkpoint").read_bytes()

    assert found == b"state"


def test_a_process_that_died_after_its_manifest_does_not_damage_the_next(cache: ArtifactStore) -> None:
    with pytest.raises(RuntimeError, match="power cut"):
        dies(cache, MANIFEST, b'{"files": {}}')
    folder = made(cache)

    assert cache.find("key") == folder


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
def test_what_is_damaged_is_made_again_with_a_warning(
    cache: ArtifactStore, caplog: pytest.LogCaptureFixture, damage: object
) -> None:
    folder = made(cache)
    assert callable(damage)
    damage(folder)
    with caplog.at_level(logging.WARNING):
        found = cache.find("key")

    assert found is None
    assert [record.message for record in caplog.records] == [
        f"{folder}: the artifact is damaged. It is made again."
    ]
    assert cache.find("key") is None
    assert cache.find(made(cache).name) == folder


def test_a_missing_file_is_seen_without_reading_the_others(cache: ArtifactStore) -> None:
    (made(cache) / "other").unlink()

    assert not cache.has("key")


def test_what_is_made_anew_takes_the_place_of_what_is_there(cache: ArtifactStore) -> None:
    made(cache, content=b"old and longer")
    folder = made(cache, content=b"new")

    assert cache.find("key") == folder
    assert (folder / "file").read_bytes() == b"new"


def test_a_second_maker_waits_for_the_first(cache: ArtifactStore) -> None:
    order: list[str] = []
    holds = threading.Event()

    def first() -> None:
        with cache.locked("key"):
            holds.set()
            time.sleep(0.1)
            made_by = "first" if cache.find("key") is None else "found"
            with cache.write("key") as folder:
                (folder / "file").write_text(made_by)
            order.append(made_by)

    thread = threading.Thread(target=first)
    thread.start()
    holds.wait()
    with ArtifactStore(cache.folder.parent).locked("key"):
        order.append("second" if cache.find("key") is None else "found")
    thread.join()

    assert order == ["first", "found"]


def test_other_keys_are_not_held_off(cache: ArtifactStore) -> None:
    with cache.locked("one"), cache.locked("other"):
        made(cache, "third")

    assert cache.has("third")

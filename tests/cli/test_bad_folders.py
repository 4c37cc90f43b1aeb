"""A folder or data that cannot be used is one line and exit status 2, before anything is made."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image
from small_runs import bench, images, line_of, run

from bench.storage.records import SCHEMA, RecordStore

pytestmark = pytest.mark.usefixtures("folder")


@pytest.mark.parametrize("results", ["file", "file/below", "link", "taken"])
def test_a_results_folder_that_cannot_be_written_is_found_at_once(folder: Path, results: str) -> None:
    (folder / "file").write_text("")
    (folder / "link").symlink_to("nowhere")
    (folder / "taken").mkdir()
    (folder / "taken" / "artifacts").write_text("")
    before = sorted(folder.rglob("*"))

    assert f"--results {results}: " in line_of(run("--results", results))
    assert sorted(folder.rglob("*")) == before


def test_a_place_of_records_that_is_taken_is_found_before_training(folder: Path) -> None:
    place = folder / "results" / "records" / "simclr"
    place.parent.mkdir(parents=True)
    place.write_text("")

    assert f"{place} cannot be written to (Not a directory)" in line_of(run("--method", "random,simclr"))
    assert not (folder / "results" / "artifacts").exists()


def test_a_record_of_a_newer_bench_is_found_before_training(folder: Path) -> None:
    assert run("--method", "random", "--set", "dataset.max_train=32").exit_code == 0
    (record,) = RecordStore(folder / "results").root.rglob("*.json")
    record.write_text(record.read_text().replace(f'"schema": {SCHEMA}', '"schema": 99'))
    artifacts = sorted((folder / "results" / "artifacts").iterdir())
    line = line_of(run("--method", "vicreg,random", "--set", "dataset.max_train=32"))

    assert f"has schema 99, this bench reads {SCHEMA}. Upgrade ssl-bench." in line
    assert sorted((folder / "results" / "artifacts").iterdir()) == artifacts


@pytest.mark.parametrize(
    ("places", "message"),
    [
        (["d/a/b/1.png", "d/a/c/2.png"], "d/a is the only folder of images there, and has b, c in it"),
        (["other/a/1.png"], "d is no folder, it is not there. Set dataset.root to a folder of images, or"),
        (
            ["d/train/a/1.png", "d/train/b/1.png", "d/test/1.png"],
            "1 image lies in d/test without class folders",
        ),
        (["d/train/a/1.png", "d/train/b/1.png", "d/test/a/1.png"], "it lacks: b"),
    ],
)
def test_a_folder_of_images_that_cannot_be_used_is_found_at_once(
    folder: Path, places: list[str], message: str
) -> None:
    images(folder, *places)

    assert message in line_of(run("--dataset", "image_folder", "--set", "dataset.root=d"))
    assert not (folder / "results").exists()


def test_a_file_that_is_no_checkpoint_is_found_at_once(folder: Path) -> None:
    (folder / "w.pt").write_bytes(os.urandom(64))

    assert "w.pt: not a checkpoint that can be read" in line_of(run("--set", "backbone.weights=w.pt"))
    assert not (folder / "results").exists()


def test_a_path_that_the_system_refuses_is_one_line() -> None:
    args = ("--dataset", "image_folder", "--set", f"dataset.root={'x' * 300}")

    assert "it cannot be read (File name too long)" in line_of(run(*args))


@pytest.mark.parametrize("command", [("preview",), ("show", "views", "simclr")])
def test_a_picture_of_views_refuses_such_a_path_in_one_line_too(command: tuple[str, ...]) -> None:
    args = ("--dataset", "image_folder", "--set", f"dataset.root={'x' * 300}")

    assert "it cannot be read (File name too long)" in line_of(bench(*command, *args))


def test_a_damaged_test_image_fails_the_cell_before_the_training(folder: Path) -> None:
    images(folder, *(f"d/train/{label}/{n}.png" for label in "ab" for n in range(16)))
    images(folder, "d/test/a/1.png", "d/test/b/1.png")
    Image.effect_noise((16, 16), 50).convert("RGB").save(folder / "d/test/b/1.png")
    os.truncate(folder / "d/test/b/1.png", 200)  # behind the header: not seen in planning
    result = run("--dataset", "image_folder", "--set", "dataset.root=d")

    assert result.exit_code == 1
    assert "failed: image_folder: an image cannot be decoded: test/b/1.png" in result.stdout
    assert not list((folder / "results" / "artifacts").glob("*/manifest.json"))

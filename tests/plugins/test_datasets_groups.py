"""Images that belong together: groups.csv beside a folder's splits, and the tracks of GTSRB."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from archives import draw, sign, write_gtsrb
from bench_plugins.datasets import gtsrb, image_folder
from bench_plugins.datasets.gtsrb import GTSRB
from bench_plugins.datasets.image_folder import ImageFolder

from bench.api import BadData, BadValue, DataLocation
from bench.testing import check_dataset

PATIENTS, EACH = 10, 3  # of each class, and images of each


def opened(root: Path, **settings: Any) -> ImageFolder:
    location = DataLocation(root=root, data_dir=root.parent / "data")
    return ImageFolder("image_folder", image_folder.Config(**settings), location)


def list_groups(files: dict[str, str], heading: str = "patient") -> str:
    """Return the text of a groups.csv."""
    return "".join(f"{file},{group}\n" for file, group in {"file": heading, **files}.items())


@pytest.fixture
def clinic(tmp_path: Path) -> Path:
    """Return a folder without splits: two classes, ten patients each, three images a patient."""
    files = {}
    for c, name in enumerate(("benign", "malign")):
        for patient in range(PATIENTS):
            for image in range(EACH):
                path = f"{name}/{image}_{patient}.png"  # sorted, a patient's are not side by side
                draw(tmp_path / "clinic" / path, 100 * c + 10 * patient + image)
                files[path] = f"{name} {patient}"
    (tmp_path / "clinic" / "groups.csv").write_text(list_groups(files))
    return tmp_path / "clinic"


def shades(data: ImageFolder, split: str) -> list[int]:
    shade: list[int] = data.load(split).pixels[:, 0, 0, 0].tolist()
    return shade


def test_a_folder_says_the_group_of_each_image(clinic: Path) -> None:
    data = opened(clinic)
    by_group: dict[int, set[int]] = {}
    for split in data.splits:
        groups = data.groups(split)
        assert groups is not None
        for shade, group in zip(shades(data, split), groups, strict=True):
            by_group.setdefault(group, set()).add(shade // 10)

    assert data.info.groups == "patient"
    assert len(by_group) == 2 * PATIENTS
    assert all(len(tens) == 1 for tens in by_group.values())


def test_a_test_split_is_drawn_of_whole_groups_and_has_its_share_of_each_class(clinic: Path) -> None:
    data = opened(clinic)
    train, test = ({shade // 10 for shade in shades(data, split)} for split in data.splits)

    assert not train & test
    assert data.labels("test") == [0] * 2 * EACH + [1] * 2 * EACH
    assert data.info.notes == (
        "the test split is about a fifth of each class, by whole patient, drawn with seed 0",
    )


def test_a_folder_with_groups_keeps_the_contract(clinic: Path) -> None:
    check_dataset(
        ImageFolder, "image_folder", location=DataLocation(root=clinic, data_dir=clinic.parent / "data")
    )


def test_max_train_takes_whole_patients(clinic: Path) -> None:
    data = opened(clinic, max_train=10)
    groups = data.groups("train")

    assert groups is not None
    assert len(groups) == 9
    assert all(groups.count(group) == EACH for group in groups)
    with pytest.raises(BadValue, match=r"max_train: 5 images hold no group of every class.* at least 6\.$"):
        opened(clinic, max_train=5)


def test_images_that_are_skipped_leave_their_groups(clinic: Path) -> None:
    (clinic / "benign" / "0_0.png").write_bytes(b"")
    data = opened(clinic, on_error="skip")
    counts = [len(data.groups(split) or ()) for split in data.splits]

    assert counts == [len(data.labels(split)) for split in data.splits]
    assert sum(counts) == 2 * PATIENTS * EACH - 1


def test_a_folder_without_the_file_has_no_groups(clinic: Path) -> None:
    (clinic / "groups.csv").unlink()
    data = opened(clinic)

    assert [data.groups(split) for split in data.splits] == [None, None]
    assert data.info.groups == ""


def change_fingerprint(root: Path, change: Callable[[], Any], **settings: Any) -> bool:
    before = opened(root, **settings).fingerprint()
    change()
    return opened(root, **settings).fingerprint() != before


def test_groups_are_in_the_fingerprint_where_they_decide_what_is_in_a_split(clinic: Path) -> None:
    table = clinic / "groups.csv"
    text = table.read_text()

    def regroup() -> None:
        table.write_text(text.replace("0_1.png,benign 1", "0_1.png,benign 2"))

    def rename() -> None:
        table.write_text(text.replace("benign 1", "b1"))

    assert change_fingerprint(clinic, regroup)
    table.write_text(text)
    assert not change_fingerprint(clinic, rename)
    for split, patients in (("train", range(8)), ("test", range(8, 10))):
        for path in sorted(clinic.glob("*/*.png")):
            if int(path.stem[2:]) in patients:
                (clinic / split / path.parent.name).mkdir(parents=True, exist_ok=True)
                path.rename(clinic / split / path.parent.name / path.name)
                text = text.replace(
                    f"\n{path.parent.name}/{path.name}", f"\n{split}/{path.parent.name}/{path.name}"
                )
    for name in ("benign", "malign"):
        (clinic / name).rmdir()
    table.write_text(text)

    assert not change_fingerprint(clinic, regroup)
    table.write_text(text)
    assert change_fingerprint(clinic, regroup, max_train=10)


def test_a_group_in_two_splits_is_refused(clinic: Path) -> None:
    for split in ("train", "test"):
        for name in ("benign", "malign"):
            for i in range(2):
                draw(clinic.parent / "two" / split / name / f"{i}.png")
    files = {
        f"{split}/{name}/{i}.png": f"{name}{i}" + ("" if i else split)
        for split in ("train", "test")
        for name in ("benign", "malign")
        for i in range(2)
    }
    (clinic.parent / "two" / "groups.csv").write_text(list_groups(files))

    with pytest.raises(
        BadData, match=r"groups\.csv has group benign1 in train and in test\. Move its images to"
    ):
        opened(clinic.parent / "two")


def test_a_class_of_one_group_cannot_be_split(clinic: Path) -> None:
    table = clinic / "groups.csv"
    lines = [
        line.rpartition(" ")[0] if line.startswith("benign") else line
        for line in table.read_text().split("\n")
    ]
    table.write_text("\n".join(lines))

    with pytest.raises(BadData, match=r"no group of 'benign' can be tested on.* Add images of another group"):
        opened(clinic)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (
            lambda t: t.replace("file,patient", "name,patient"),
            "is headed 'name,patient'. Head its two columns",
        ),
        (lambda t: t.replace("file,patient", "file"), "is headed 'file'"),
        (lambda t: t[:0], "is headed ''"),
        (
            lambda t: t.replace("0_3.png,benign 3", "0_3.png"),
            "line 5 of .* is 'benign/0_3.png'. Write a file",
        ),
        (lambda t: t.replace("0_3.png,benign 3", "0_3.png, "), "line 5 of .* is 'benign/0_3.png, '"),
        (lambda t: t.replace("0_3.png", "0_4.png"), "has benign/0_4.png twice. Give each file one line"),
        (
            lambda t: t.replace("benign/0_3.png,benign 3\n", ""),
            "does not name benign/0_3.png. Give each image",
        ),
        (lambda t: t + "benign/x.png,y\n", "names benign/x.png, which is no image in a class folder"),
        (lambda t: t.replace("benign 3", "\udcff"), "cannot be read .* Save it as UTF-8"),
    ],
)
def test_a_table_that_does_not_fit_is_one_line(clinic: Path, spoil: Callable[[str], str], why: str) -> None:
    table = clinic / "groups.csv"
    text = (
        "\n".join(sorted(table.read_text().splitlines(), key=lambda line: (line[:4] != "file", line))) + "\n"
    )
    table.write_text(spoil(text), errors="surrogateescape")

    with pytest.raises(BadData, match=rf"^image_folder: .*{why}") as caught:
        opened(clinic)
    assert "\n" not in str(caught.value)


def test_the_groups_of_gtsrb_are_its_tracks(tmp_path: Path) -> None:
    write_gtsrb(tmp_path / "gtsrb")
    for path in (tmp_path / "gtsrb" / "GTSRB" / "Training").glob("*/*.ppm"):
        sign(path, 3 * (int(path.parent.name) % 4) + int(path.name[:5]))  # the red is the track, nearly
    data = GTSRB("gtsrb", gtsrb.Config(), DataLocation(root=tmp_path, data_dir=tmp_path / "data"))
    seen = set()
    for split in ("train", "val"):
        groups, images = data.groups(split), data.load(split)
        assert groups is not None
        reds = images.pixels[:, 0, 16, 16].tolist()
        seen |= {
            (group, label, red)
            for group, label, red in zip(groups, images.labels.tolist(), reds, strict=True)
        }

    assert len(seen) == len({group for group, _, _ in seen}) == 42 * 3 + 20
    assert data.groups("test") is None
    assert data.info.groups == GTSRB.about(gtsrb.Config()).groups == "tracks"

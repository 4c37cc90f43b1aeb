"""GTSRB from small folders in the layout of the unpacked archives."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from archives import FRAMES, TRACKS, sign, write_gtsrb
from bench_plugins.datasets.gtsrb import GTSRB, NAMES, Config

from bench.api import BadData, DataLocation, UsageError
from bench.testing import check

ROW = "00001.ppm;20;24;5;5;15;19;7"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("signs")
    write_gtsrb(root / "gtsrb")
    return root


@pytest.fixture
def own(written: Path, tmp_path: Path) -> Path:
    """Return a copy to spoil."""
    shutil.copytree(written, tmp_path / "own")
    return tmp_path / "own"


def gtsrb(root: Path, **settings: Any) -> GTSRB:
    return GTSRB("gtsrb", Config(**settings), DataLocation(root=root))


def test_gtsrb_is_read_from_the_unpacked_archives(written: Path) -> None:
    data = gtsrb(written)
    train, val, test = (data.load(split) for split in ("train", "val", "test"))

    assert len(train) + len(val) == (42 * TRACKS + 20) * FRAMES
    assert test.labels.tolist() == data.labels("test") == [(i * 7) % 43 for i in range(43)]
    assert train.pixels[:, 0, 16, 16].tolist() == train.labels.tolist()
    assert test.pixels.shape[1:] == (3, 32, 32)


def test_gtsrb_keeps_the_contract(written: Path) -> None:
    outcomes = check("datasets", GTSRB, "gtsrb", location=DataLocation(root=written))

    drawn_alike = {"no image is in two splits"}
    assert {title for title, error in outcomes if error is not None} == drawn_alike


def test_the_names_are_those_of_the_signs() -> None:
    named = {
        1: "Speed limit (30km/h)",
        14: "Stop",
        33: "Turn right ahead",
        38: "Keep right",
        41: "End of no passing",
    }

    assert len(set(NAMES)) == 43
    assert {label: NAMES[label] for label in named} == named


def test_signs_are_neither_mirrored_nor_recoloured_and_the_notes_say_what_is_special(written: Path) -> None:
    info = gtsrb(written).info

    assert (info.flip, info.colour, info.channels, info.size) == (False, False, 3, 32)
    assert "26,640 images; the official one has 39,209" in info.notes[0]
    assert info.notes[2] == "images found in GTSRB/Training: 292"
    assert "tracks" in info.notes[1]


def test_the_whole_image_is_stretched_to_the_size_that_is_set(own: Path) -> None:
    for path in own.rglob("Final_Test/Images/*.ppm"):
        sign(path, 9, width=40, height=16)
    test = gtsrb(own, size=16).load("test")

    assert test.pixels.shape[2:] == (16, 16)
    assert (test.pixels[:, 2, :, 0] > 150).all()  # a centre crop would not have the left edge


def test_no_track_is_on_both_sides_and_a_tenth_of_each_class_is_held_out(own: Path) -> None:
    for path in (own / "gtsrb" / "GTSRB" / "Training" / "00001").glob("*.ppm"):
        sign(path, 100 + int(path.name[:5]))  # the red is the track
    data = gtsrb(own)
    train, val = data.load("train"), data.load("val")
    sides = [set(part.pixels[part.labels == 1, 0, 16, 16].tolist()) for part in (train, val)]

    assert [len(side) for side in sides] == [18, 2]
    assert not sides[0] & sides[1]
    assert [data.labels("val").count(label) for label in range(43)] == [FRAMES, 2 * FRAMES] + [FRAMES] * 41


def test_a_class_of_one_track_is_trained_on(own: Path) -> None:
    for path in (own / "gtsrb" / "GTSRB" / "Training" / "00005").glob("0000[12]_*.ppm"):
        path.unlink()
    data = gtsrb(own)

    assert data.labels("train").count(5) == FRAMES
    assert data.labels("val").count(5) == 0


@pytest.mark.parametrize("inner", ["gtsrb", "gtsrb/GTSRB"])
def test_the_folders_of_the_files_serve_as_root_too(written: Path, inner: str) -> None:
    assert gtsrb(written / inner).labels("test") == gtsrb(written).labels("test")


def test_classes_and_max_train_select_images(written: Path) -> None:
    data = gtsrb(written, classes=("Stop", "Yield"), max_train=4)

    assert sorted(data.load("train").labels.tolist()) == [0, 0, 1, 1]
    assert sorted(data.labels("test")) == [0, 1]
    with pytest.raises(UsageError, match=r"gtsrb: no class is named 'Stopp'\. Did you mean 'Stop'"):
        gtsrb(written, classes=("Stopp", "Yield"))


def test_missing_files_are_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"gtsrb is not there or not complete\. Use --download.*dataset\.root"):
        GTSRB("gtsrb", Config(), DataLocation(data_dir=tmp_path))


def spoil(folder: Path, what: str) -> None:
    training, answers = folder / "GTSRB" / "Training", folder / "GT-final_test.csv"
    if what == "class":
        shutil.rmtree(training / "00042")
    elif what == "another":
        (training / "00043").mkdir()
    elif what == "name":
        (training / "00000" / "00000_00000.ppm").rename(training / "00000" / "sign.ppm")
    elif what in ("43", "-1"):
        answers.write_text(answers.read_text().replace(ROW, ROW[:-1] + what))
    elif what == "twice":
        answers.write_text(answers.read_text() + ROW + "\n")
    elif what == "row":
        answers.write_text("\n".join(answers.read_text().splitlines()[:-1]))
    elif what == "image":
        (folder / "GTSRB" / "Final_Test" / "Images" / "00003.ppm").unlink()
    else:
        answers.write_text("<html>\nnot found</html>")


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("class", "Training is damaged: .*00042"),
        ("another", "00043 is damaged: it is none of the 43 classes"),
        ("name", r"sign\.ppm is damaged: its name is not XXXXX_YYYYY\.ppm"),
        ("43", r"GT-final_test\.csv is damaged: a label is 43, of 43 classes"),
        ("-1", r"GT-final_test\.csv is damaged: a label is -1, of 43 classes"),
        ("twice", "there are 43 images and 44 labels, they are not of one archive"),
        ("row", "there are 43 images and 42 labels, they are not of one archive"),
        ("image", "there are 42 images and 43 labels, they are not of one archive"),
        ("table", "it is no table with Filename and ClassId"),
    ],
)
def test_damaged_files_are_one_line_before_anything_is_trained(own: Path, what: str, why: str) -> None:
    spoil(own / "gtsrb", what)

    with pytest.raises(BadData, match=rf"^gtsrb: .*{why}.* Delete .* and use --download\.$"):
        gtsrb(own)


def test_an_image_that_cannot_be_decoded_is_named(own: Path) -> None:
    path = own / "gtsrb" / "GTSRB" / "Final_Test" / "Images" / "00003.ppm"
    path.write_bytes(path.read_bytes()[:50])

    with pytest.raises(BadData, match=r"00003\.ppm is damaged: it cannot be decoded \(.*\)\. Delete"):
        gtsrb(own).load("test")


def test_a_download_is_of_both_splits_and_prints_nothing_on_stdout(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = {
        "Training_fixed": "GTSRB/Training",
        "Test_Images": "GTSRB/Final_Test",
        "Test_GT": "GT-final_test.csv",
    }

    def unpack(url: str, download_root: str, md5: str) -> None:
        (part,) = (part for name, part in parts.items() if url.endswith(f"{name}.zip"))
        archive = shutil.make_archive(str(tmp_path / Path(url).stem), "zip", written / "gtsrb", part)
        shutil.unpack_archive(archive, download_root)
        print(url)  # noqa: T201 - as torchvision may

    monkeypatch.setattr("torchvision.datasets.gtsrb.download_and_extract_archive", unpack)
    data = GTSRB("gtsrb", Config(), DataLocation(data_dir=tmp_path / "data", download=True))

    assert data.fingerprint() == gtsrb(written).fingerprint()
    assert not capsys.readouterr().out


def test_an_archive_of_another_checksum_is_not_used_and_a_failed_download_is_one_line(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("no\nnetwork")

    archive = tmp_path / "gtsrb" / "GTSRB-Training_fixed"
    shutil.make_archive(str(archive), "zip", written / "gtsrb", "GTSRB/Training/00000")
    monkeypatch.setattr("urllib.request.urlopen", refuse)

    with pytest.raises(BadData, match=r"the download to .*gtsrb failed \(no network\)\. Try") as caught:
        GTSRB("gtsrb", Config(), DataLocation(data_dir=tmp_path, download=True))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "gtsrb" / "GTSRB").exists()


def test_the_fingerprint_is_of_the_content_and_not_of_the_place(written: Path, own: Path) -> None:
    before = gtsrb(own).fingerprint()
    (own / "gtsrb" / "GTSRB" / "Training" / "00002" / "00000_00000.ppm").unlink()

    assert before == gtsrb(written).fingerprint()
    assert before != gtsrb(own).fingerprint()

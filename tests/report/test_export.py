from __future__ import annotations

import csv
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.errors import UsageError
from bench.report.drawing import write_document, write_text
from bench.report.export import write_figures
from bench.report.figure import Figure
from bench.report.maps import MapFigure
from bench.report.styles import series_colour

BODY = (
    f'<rect x="0" y="0" width="50" height="40" fill="{series_colour(0)}"/>',
    '<rect x="50" y="0" width="50" height="40" fill="var(--s2,#d55e00)"/>',
)


def figure(name: str = "one", *more: str, **changes: Any) -> Figure:
    svg = write_document(name, "t", (100, 60), [*BODY, *more])
    numbers = {"columns": ("a", 'b, "c"'), "rows": (("x\ny", 1.5), ("é", None)), **changes}
    return Figure(name, "t", "c", svg, **numbers)


def read_png(path: Path) -> Any:
    return np.asarray(Image.open(io.BytesIO(path.read_bytes())).convert("RGB"))


def test_each_figure_is_an_svg_a_png_and_a_csv(tmp_path: Path) -> None:
    written = write_figures([figure("one"), figure("two")], tmp_path / "new" / "folder")

    assert sorted(path.name for path in written) == sorted(
        f"{name}.{kind}" for name in ("one", "two") for kind in ("svg", "png", "csv")
    )
    assert all(path.stat().st_size for path in written)


def test_the_svg_has_plain_colours_and_is_else_as_it_was_drawn(tmp_path: Path) -> None:
    write_figures([figure()], tmp_path)
    svg = (tmp_path / "one.svg").read_text(encoding="utf-8")

    assert "var(" not in svg
    assert svg.count("#0072b2") == svg.count("#d55e00") == 1
    assert svg.startswith("<svg")
    assert svg.endswith("</svg>\n")


def test_the_png_is_the_same_picture_at_three_pixels_a_unit_on_white(tmp_path: Path) -> None:
    write_figures([figure()], tmp_path)
    pixels = read_png(tmp_path / "one.png")

    assert pixels.shape == (3 * 80, 3 * 120, 3)
    assert pixels[90, 90].tolist() == [0x00, 0x72, 0xB2]
    assert pixels[90, 270].tolist() == [0xD5, 0x5E, 0x00]
    assert pixels[5, 5].tolist() == [255, 255, 255]


def test_the_png_has_its_text_in_the_font_that_comes_with_pillow(tmp_path: Path) -> None:
    write_figures([figure("blank"), figure("words", write_text(0, 50, "Some words"))], tmp_path)
    blank, words = (read_png(tmp_path / f"{name}.png")[3 * 51 :] for name in ("blank", "words"))

    assert (blank == 255).all()
    assert (words < 128).any()


def test_the_csv_reads_back_as_the_numbers(tmp_path: Path) -> None:
    write_figures([figure()], tmp_path)
    with (tmp_path / "one.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))

    assert rows == [["a", 'b, "c"'], ["x\ny", "1.5"], ["é", ""]]


def test_a_map_has_the_places_of_its_images_in_a_second_csv(tmp_path: Path) -> None:
    made = MapFigure("m", "t", "c", figure().svg, ("method",), (("a",),), ("x", "y"), ((1, 2), (3, 4)))
    write_figures([made], tmp_path)

    assert (tmp_path / "m.csv").read_text() == "method\na\n"
    assert (tmp_path / "m-points.csv").read_text() == "x,y\n1,2\n3,4\n"


def test_two_figures_of_one_name_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="two figures have one name"):
        write_figures([figure(), figure()], tmp_path / "new")

    assert not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(UsageError, match=r"--figures .*file: it cannot be written \(.*\)\."):
        write_figures([figure()], tmp_path / "file")


def test_without_what_makes_pngs_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resvg_py", None)

    with pytest.raises(UsageError, match=r"resvg_py.* is not installed\. .*'ssl-bench\[plots\]'"):
        write_figures([figure()], tmp_path / "new")
    assert not (tmp_path / "new").exists()

"""Write figures for a paper: SVG as it is drawn, PNG of the same drawing, CSV of its numbers.

The PNG is made of the SVG and not drawn again, so that there is one picture and not two that may differ.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import ImageFont

from bench.errors import UsageError
from bench.plain_text import spell_out_field
from bench.report.drawing import resolve_colours
from bench.report.figure import Figure
from bench.report.maps import MapFigure

ZOOM = 3.0  # pixels of a unit: a figure of 800 units is 8 inches wide at 300 dots an inch


def check_export() -> None:
    """Refuse to write figures where what makes PNGs is not installed.

    Raises:
        UsageError: it is not.
    """
    if find_spec("resvg_py") is None:
        raise UsageError(
            "--figures: resvg_py, which makes the PNGs, is not installed. "
            "Install it with `pip install 'ssl-bench[plots]'`."
        )


def write_figures(figures: Sequence[Figure], folder: Path) -> tuple[Path, ...]:
    """Write NAME.svg, NAME.png and NAME.csv of each figure, and NAME-points.csv of a map.

    Args:
        figures: no two of one name.
        folder: made if it is not there; files of the same names are replaced.

    Returns:
        The files.

    Raises:
        UsageError: something is not installed, or a file cannot be written.
        ValueError: two figures have one name.
    """
    check_export()
    names = [figure.name for figure in figures]
    if len(set(names)) < len(names):
        raise ValueError(f"write_figures: two figures have one name, among {', '.join(sorted(names))}.")
    written: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as fonts:
            font = _write_font(Path(fonts))
            for figure in figures:
                written += _write(figure, folder, font)
    except OSError as error:
        raise UsageError(f"--figures {folder}: it cannot be written ({error.strerror}).") from None
    return tuple(written)


def _write(figure: Figure, folder: Path, font: Path) -> list[Path]:
    svg = resolve_colours(figure.svg)
    image, picture, numbers = (folder / f"{figure.name}.{kind}" for kind in ("svg", "png", "csv"))
    image.write_text(f"{svg}\n", encoding="utf-8")
    picture.write_bytes(render(svg, font))
    write_csv(numbers, figure.columns, figure.rows)
    if not isinstance(figure, MapFigure):
        return [image, picture, numbers]
    points = folder / f"{figure.name}-points.csv"
    write_csv(points, figure.point_columns, figure.points)
    return [image, picture, numbers, points]


def render(svg: str, font: Path) -> bytes:
    """Return an SVG without variables as a PNG on white.

    Args:
        svg: the whole element.
        font: a file; letters that it lacks are those of the system.
    """
    import resvg_py

    family = ImageFont.truetype(str(font)).getname()[0]
    return bytes(
        resvg_py.svg_to_bytes(
            svg_string=svg,
            zoom=ZOOM,
            background="#ffffff",
            font_files=[str(font)],
            sans_serif_family=family,
        )
    )


def write_csv(path: Path, columns: Iterable[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table as CSV in UTF-8."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(map(spell_out_field, columns))
        writer.writerows(map(spell_out_field, row) for row in rows)


def _write_font(folder: Path) -> Path:
    """Write the font that Pillow brings with it: a server often has none, and text would be missing."""
    path = folder / "font.ttf"
    font = ImageFont.load_default(12)
    assert isinstance(font, ImageFont.FreeTypeFont)  # noqa: S101 - Pillow is required to have FreeType
    path.write_bytes(font.font_bytes)
    return path

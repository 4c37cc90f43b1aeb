from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from bench.report.thumbnails import SHEET_COLUMNS, heat_map_uri, make_sheet, make_thumbnail


def read(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


@pytest.mark.parametrize(
    ("shape", "inner"),
    [
        ((1, 8, 8), (24, 24)),
        ((3, 32, 32), (24, 24)),
        ((3, 300, 100), (8, 24)),
        ((3, 10, 20), (20, 10)),
        ((1, 1, 1), (24, 24)),
    ],
)
def test_a_thumbnail_is_a_square_with_the_whole_image_in_its_middle(
    shape: tuple[int, int, int], inner: tuple[int, int]
) -> None:
    thumbnail = make_thumbnail(np.full(shape, 255, dtype=np.uint8), 24)
    filled = thumbnail.convert("L").point(lambda value: 255 * (value > 200))

    assert thumbnail.size == (24, 24)
    left, top, right, bottom = filled.getbbox() or (0, 0, 0, 0)
    assert (right - left, bottom - top) == inner
    assert abs(left - (24 - right)) <= 1


def test_small_images_are_enlarged_without_blur() -> None:
    image = np.array([[[0, 255], [255, 0]]], dtype=np.uint8)

    assert set(np.asarray(make_thumbnail(image, 24)).ravel().tolist()) == {0, 255}


def test_a_sheet_has_each_image_where_its_number_says() -> None:
    shades = np.linspace(0, 255, SHEET_COLUMNS + 5).astype(np.uint8)
    pixels = np.broadcast_to(shades[:, None, None, None], (len(shades), 3, 8, 8))
    sheet = make_sheet("x", pixels, 16)
    picture = np.asarray(read(sheet.uri).convert("L"), dtype=int)

    assert picture.shape == (32, 16 * SHEET_COLUMNS)
    for number, shade in enumerate(shades):
        row, column = divmod(number, SHEET_COLUMNS)

        assert picture[16 * row + 8, 16 * column + 8] == pytest.approx(int(shade), abs=12)


def test_a_sheet_of_a_thousand_photos_leaves_room_on_a_page() -> None:
    ramp = np.linspace(0, 255, 32)
    waves = np.sin(np.arange(1000)[:, None, None, None] + ramp[:, None] / 20) * np.cos(ramp / 15)
    pixels = (127 + 127 * np.broadcast_to(waves, (1000, 3, 32, 32))).astype(np.uint8)

    assert len(make_sheet("x", pixels, 24).uri) < 300_000


def test_its_element_is_hidden_and_says_how_to_find_an_image() -> None:
    html = make_sheet("x", np.zeros((1, 1, 8, 8), dtype=np.uint8), 24).to_html()

    assert 'id="sheet-x"' in html
    assert 'data-side="24"' in html
    assert f'data-columns="{SHEET_COLUMNS}"' in html
    assert html.endswith('alt="" hidden>')


def test_a_heat_map_is_a_pixel_a_share_and_leaves_nothings_transparent() -> None:
    picture = np.asarray(read(heat_map_uri(np.array([[0, 0.25], [1, 0.04]]))))

    assert picture[..., 3].tolist() == [[0, 128], [255, 51]]

"""The script of the maps in headless Chromium: what is under the pointer is shown, in every map."""

from __future__ import annotations

import html
import json
import re
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.report.maps import draw_maps
from bench.report.projection import Projection
from bench.report.thumbnails import make_sheet

CHROMIUM = "/usr/bin/chromium"  # where Debian has it
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--dump-dom")
CLASSES = ("cat", "<dog> & co")
ROWS, LABELS = np.arange(40), np.arange(40) % 2
MOVE = """
const path = document.querySelectorAll('path[data-at]')[CLASS];
const [x, y] = path.getAttribute('d').slice(1).split('h')[0].split(' ').map(Number);
const at = new DOMPoint(x + AWAY, y).matrixTransform(path.getScreenCTM());
path.ownerSVGElement.dispatchEvent(new PointerEvent('pointermove', {clientX: at.x, clientY: at.y}));
LEAVE
const [picture, words] = document.querySelector('body > div').children;
const told = {
  shown: words.parentElement.style.display, words: words.textContent,
  place: picture.style.backgroundPosition, side: picture.style.width,
  rings: [...document.querySelectorAll('g.map circle[visibility=visible]')].map(
    (ring) => ['cx', 'cy'].map((name) => ring.getAttribute(name))),
};
const pre = document.createElement('pre');
pre.textContent = JSON.stringify(told);
document.body.append(pre);
"""


def projection(seed: int) -> Projection:
    points = np.random.default_rng(seed).normal(size=(40, 2)).astype(np.float32)
    return Projection(points, 0.9, 70.0, 60.0)


def hover(folder: Path, label: int, away: float = 0.0, leave: str = "") -> dict[str, Any]:
    """Return what the page shows once the pointer is beside the first image of a class."""
    maps = [("simclr", projection(0)), ("vicreg", projection(1))]
    figure = draw_maps("tsne-x", "t", "tsne", maps, ROWS, LABELS, CLASSES, "x")
    sheet = make_sheet("x", np.zeros((40, 1, 8, 8), dtype=np.uint8), 24)
    script = files("bench.report").joinpath("maps.js").read_text(encoding="utf-8")
    move = MOVE.replace("CLASS", str(label)).replace("AWAY", str(away)).replace("LEAVE", leave)
    page = folder / "page.html"
    parts = [figure.svg, sheet.to_html(), f"<script>{script}</script>", f"<script>{move}</script>"]
    page.write_text(f"<!doctype html><meta charset=utf-8><body>{''.join(parts)}", encoding="utf-8")
    command = [CHROMIUM, *FLAGS, page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    (told,) = re.findall("<pre>(.*)</pre>", done.stdout)
    result: dict[str, Any] = json.loads(html.unescape(told))
    return result


@pytest.mark.parametrize("label", [0, 1])
def test_the_image_under_the_pointer_is_named_shown_and_ringed_in_every_map(
    tmp_path: Path, label: int
) -> None:
    told = hover(tmp_path, label)

    assert (told["shown"], told["words"], told["side"]) == ("block", CLASSES[label], "48px")
    assert told["place"] == f"-{48 * label}px 0px".replace("-0px", "0px")
    assert len({tuple(ring) for ring in told["rings"]}) == len(told["rings"]) == 2


def test_nothing_is_shown_where_no_image_is_near(tmp_path: Path) -> None:
    told = hover(tmp_path, 0, away=500)

    assert told["shown"] == "none"
    assert told["rings"] == []


def test_nothing_is_left_when_the_pointer_leaves(tmp_path: Path) -> None:
    leave = "path.ownerSVGElement.dispatchEvent(new PointerEvent('pointerleave'));"

    assert hover(tmp_path, 0, leave=leave)["shown"] == "none"

"""Read a figure."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree as ET


def parse(svg: str) -> ET.Element:
    """Return the outermost element of an SVG, or of a part of one."""
    return ET.fromstring(svg)  # noqa: S314 - a test made it


def elements(svg: str, tag: str = "") -> Iterator[ET.Element]:
    """Yield the elements of an SVG, all or those of one tag."""
    return (one for one in parse(svg).iter() if one.tag.endswith(f"}}{tag}" if tag else ""))


def texts(svg: str) -> list[str]:
    """Return what a reader can read, in order."""
    return [one.text or "" for one in elements(svg, "text")]

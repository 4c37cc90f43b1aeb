"""The formats by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bench.reporting.formats.base import Sheet
from bench.reporting.formats.html import html
from bench.reporting.formats.latex import latex
from bench.reporting.formats.text import github, plain
from bench.reporting.formats.tidy import as_csv, as_json

SHEETS: dict[str, Callable[[Sheet], str]] = {"github": github, "plain": plain, "latex": latex, "html": html}
TIDY: dict[str, Callable[[Sequence[Mapping[str, Any]]], str]] = {"csv": as_csv, "json": as_json}

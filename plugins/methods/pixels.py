"""Pixels: the images themselves, without a network. The floor below the floor of a table.

Nothing is trained and whatever backbone is asked for is left aside: an evaluator works on raw
pixels. Features that do no better than these are worth nothing.
"""

from __future__ import annotations

from typing import ClassVar

from bench.api import Method


class Pixels(Method):
    """Leave out the backbone, and evaluate raw pixels."""

    reference: ClassVar[str] = "Coates, Ng and Lee 2011, An analysis of single-layer networks, AISTATS"
    fixed_backbone: ClassVar[str | None] = "pixels"

"""Random: the backbone with random weights. The floor of a table.

Nothing is trained: what an evaluator finds in these features is what the architecture alone gives.
A method that does not beat it has learnt nothing.

Branches of residual networks are on: without training, those that start with their branches off are no more
than strided shortcuts.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from bench.api import DatasetInfo, Method, switch_on_branches


class Random(Method):
    """Keep random weights, as the floor every table needs."""

    reference = "Saxe et al. 2011, On random weights and unsupervised feature learning, ICML"
    version = 2

    def __init__(self, backbone: nn.Module, dim: int, config: Any, data: DatasetInfo) -> None:
        super().__init__(backbone, dim, config, data)
        switch_on_branches(backbone)

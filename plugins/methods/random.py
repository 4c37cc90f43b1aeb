"""Random: the backbone as it is initialised. The floor of a table.

Nothing is trained: what an evaluator finds in these features is what the architecture alone gives.
A method that does not beat it has learnt nothing.
"""

from __future__ import annotations

from bench.api import Method


class Random(Method):
    """Keep the initial weights, as the floor every table needs."""

    reference = "Saxe et al. 2011, On random weights and unsupervised feature learning, ICML"

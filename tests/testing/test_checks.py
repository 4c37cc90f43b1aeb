"""How a check is run, and what is alike."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from bench.testing.checks import Check, alike, run


def test_a_plugin_that_raises_what_ends_an_iterator_ends_no_checks() -> None:
    def checks() -> Iterator[Check]:
        yield "wrong", lambda: next(iter(()))
        yield "right", lambda: None

    assert [(outcome.name, outcome.state) for outcome in run(checks())] == [
        ("wrong", "FAILED"),
        ("right", "ok"),
    ]


@pytest.mark.parametrize("other", [(2, 4), (3,), (2, 3, 1)])
def test_tensors_of_other_shapes_are_not_alike(other: tuple[int, ...]) -> None:
    assert alike(torch.zeros(2, 3), torch.zeros(2, 3))
    assert not alike(torch.zeros(2, 3), torch.zeros(other))

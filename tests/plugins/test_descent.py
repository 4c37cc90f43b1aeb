"""The solver's history, which is kept in place."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch
from bench_plugins.evaluators.fitting import descent, logistic
from bench_plugins.evaluators.fitting.descent import State
from logistic_reference import draw_problem

HEADS = 4


def drawn() -> State:
    generator = torch.Generator().manual_seed(0)
    values = {f.name: torch.randn(HEADS, 3, generator=generator) for f in fields(State)}
    histories = {name: torch.randn(HEADS, 5, 2, 3, generator=generator) for name in ("moves", "changes")}
    return State(**values | histories)


@pytest.mark.parametrize("kept", [[0, 2, 3], [3], [1, 2], [0, 1, 2, 3], []])
def test_heads_that_go_on_keep_what_is_theirs_in_the_memory_where_it_is(kept: list[int]) -> None:
    heads = drawn()
    mask = torch.isin(torch.arange(HEADS), torch.tensor(kept, dtype=torch.long))
    expected, place = heads.take(mask), heads.moves.untyped_storage().data_ptr()
    found = heads.keep(mask)

    assert all(getattr(found, f.name).equal(getattr(expected, f.name)) for f in fields(State))
    assert found.moves.untyped_storage().data_ptr() == place


def test_a_fit_is_the_same_however_few_heads_have_their_history_copied_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Bit for bit, with heads that end one after the other and steps that some of them refuse."""
    x, y = draw_problem(400, 12, 5, 1.0)
    rows = [
        logistic.Rows.of(x[k:], y[k:], x.device, logistic.Frame.of(x[k:], x.device)) for k in (0, 100, 200)
    ]
    l2 = torch.tensor([[1e-1, 1e-4, 1e-6], [1e-2, 1e-6, 1e-7]], dtype=torch.float64)

    def fitted() -> list[logistic.Heads]:
        ends = logistic.fit_all(rows, 5, l2, tolerance=1e-9, max_iter=300)
        return [head for heads in ends for head in heads]

    at_once = fitted()
    monkeypatch.setattr(descent, "BLOCK", 1)
    one_by_one = fitted()

    assert len({int(head.steps) for head in at_once[:3]}) > 1
    for one, other in zip(at_once, one_by_one, strict=True):
        assert one.weight.equal(other.weight)
        assert one.steps.equal(other.steps)

"""Negatives that are made are SynCo's, of the rows that a query is nearest to."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from sines import exactly, figures, sine, units
from torch import Tensor

from bench.nn.losses import info_nce
from bench.nn.negatives import synthetic_negatives


def unit(row: list[float]) -> list[float]:
    length = math.sqrt(sum(x * x for x in row))
    return [x / length for x in row]


def dot(one: list[float], other: list[float]) -> float:
    return sum(x * y for x, y in zip(one, other, strict=True))


def plain_negatives(
    query: list[float], nearest: list[list[float]], draws: dict[str, Any], steps: tuple[float, float, float]
) -> list[list[float]]:
    """Return the six types of negatives of one unit query, number by number."""
    made = [
        *([u / 2 * x + (1 - u / 2) * y for x, y in zip(query, nearest[n], strict=True)]
          for n, u in zip(draws[0], draws["u0"], strict=True)),
        *([x + (1 + u / 2) * (y - x) for x, y in zip(query, nearest[n], strict=True)]
          for n, u in zip(draws[1], draws["u1"], strict=True)),
        *([u * x + (1 - u) * y for x, y in zip(nearest[n], nearest[m], strict=True)]
          for n, m, u in zip(*draws[2], draws["u2"], strict=True)),
        *([x + steps[0] * y for x, y in zip(nearest[n], noise, strict=True)]
          for n, noise in zip(draws[3], draws["noise"], strict=True)),
        *([y + steps[1] * x for x, y in zip(query, nearest[n], strict=True)] for n in draws[4]),
        *([y + steps[2] * ((x > 0) - (x < 0)) for x, y in zip(query, nearest[n], strict=True)]
          for n in draws[5]),
    ]  # fmt: skip
    return [unit(row) for row in made]


@pytest.fixture
def pinned(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Tensor]]:
    """Draw what the authors' code drew where its numbers are from, and return what was drawn."""
    drawn: dict[str, list[Tensor]] = {"integers": [], "numbers": [], "normal": []}

    def integers(low: int, high: int, size: tuple[int, ...], **kwargs: Any) -> Tensor:
        e = torch.arange(math.prod(size))
        drawn["integers"].append(((3 * e + 2 * len(drawn["integers"]) + 1) % high).view(size))
        return drawn["integers"][-1]

    def numbers(*size: int, **kwargs: Any) -> Tensor:
        e = torch.arange(math.prod(size)).double()
        call = len(drawn["numbers"])
        drawn["numbers"].append(((torch.sin(0.37 * e + 30 + call) + 1) / 2).view(size))
        return drawn["numbers"][-1]

    def normal(like: Tensor) -> Tensor:
        drawn["normal"].append(sine(40, *like.shape))
        return drawn["normal"][-1]

    for name, function in (("randint", integers), ("rand", numbers), ("randn_like", normal)):
        monkeypatch.setattr(torch, name, function)
    return drawn


@pytest.mark.parametrize(
    ("shape", "size", "temperature", "hard", "counts", "steps", "value", "gradient"),
    [
        (
            (4, 6), 12, 0.2, 5, (3, 3, 3, 2, 2, 2), (0.01, 0.01, 0.01), 4.55983734006,
            (0.46648831314, 0.939787999219, -0.122762018305, 0.26842816144),
        ),
        (
            (3, 8), 15, 0.07, 6, (4, 2, 5, 3, 1, 2), (0.1, 0.05, 0.02), 7.27173482842,
            (-2.48704655976, 10.4582557946, -0.670689101264, 1.14296676056),
        ),
    ],
)  # fmt: skip
def test_made_negatives_give_the_loss_and_gradient_of_the_authors_code(
    pinned: Any, shape: Any, size: int, temperature: float, hard: int, counts: Any, steps: Any, value: float,
    gradient: Any,
) -> None:  # fmt: skip
    # giakoumoglou/synco 79a9c42f synco/builder.py, its queue with unit rows, its draws pinned
    q, queue = sine(0, *shape).requires_grad_(), units(2, size, shape[1])
    made = synthetic_negatives(q, queue, hard, counts, *steps)
    loss = info_nce(q, sine(1, *shape), temperature, queue, own=made)
    loss.backward()

    assert float(loss.detach()) == pytest.approx(value, rel=1e-10)
    assert figures(q.grad) == exactly(*gradient)
    assert not made.requires_grad


def test_made_negatives_are_the_papers_in_plain_loops(pinned: Any) -> None:
    q, queue, counts = units(3, 4, 5), units(2, 12, 5), (3, 2, 4, 2, 1, 2)
    made = synthetic_negatives(q, queue, 6, counts, 0.3, 0.2, 0.1)
    for row in range(4):
        query = q[row].tolist()
        nearest = sorted(queue.tolist(), key=lambda n: -dot(query, n))[:6]
        draws: dict[Any, Any] = {t: pinned["integers"][t][row].tolist() for t in (0, 1, 3, 4, 5)}
        draws[2] = pinned["integers"][2][:, row].tolist()
        draws |= {f"u{t}": pinned["numbers"][t][row].flatten().tolist() for t in range(3)}
        draws["noise"] = pinned["normal"][0][row].tolist()
        expected = torch.tensor(plain_negatives(query, nearest, draws, (0.3, 0.2, 0.1))).double()

        torch.testing.assert_close(made[row], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", range(6))
def test_a_count_switches_its_own_type_on(kind: int) -> None:
    # the authors' code has the switches of types 4 and 5 the wrong way round
    torch.manual_seed(0)
    q, queue = units(3, 4, 5), units(2, 12, 5)
    made = synthetic_negatives(q, queue, 1, [7 * (kind == t) for t in range(6)], 0.3, 0.2, 0.1)
    n = queue[(q @ queue.T).argmax(dim=1)].unsqueeze(1)
    along, along_sign = n + 0.2 * q.unsqueeze(1), n + 0.1 * q.sign().unsqueeze(1)
    expected = {2: n, 4: F.normalize(along, dim=2), 5: F.normalize(along_sign, dim=2)}

    assert made.shape == (4, 7, 5)
    torch.testing.assert_close(made.norm(dim=2), torch.ones(4, 7).double())
    if kind in expected:
        torch.testing.assert_close(made, expected[kind].expand(4, 7, 5))
    else:
        assert made.flatten(0, 1).unique(dim=0).shape[0] == 28


def test_without_counts_there_are_none() -> None:
    assert synthetic_negatives(units(3, 4, 5), units(2, 12, 5), 6, (0,) * 6, 0.3, 0.2, 0.1).shape == (4, 0, 5)

"""A queue is a list of which the oldest row goes, and a bank a row an image."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from sines import exactly, figures, sine, units
from torch import Tensor

from bench.errors import BadValue
from bench.nn.losses import info_nce
from bench.nn.queue import FeatureQueue, MemoryBank


def plain(size: int, batches: list[list[int]]) -> list[int | None]:
    """Return what stands at each place of a queue of ints, row by row."""
    rows: list[int | None] = [None] * size
    place = 0
    for batch in batches:
        for row in batch:
            rows[place] = row
            place = (place + 1) % size
    return rows


@pytest.mark.parametrize(
    "sizes", [(4, 4, 4), (3, 3, 3, 3), (1,), (8, 8), (5, 8, 2), (11, 3), (20, 1, 17), (0, 3)]
)
def test_it_holds_what_a_plain_list_holds(sizes: tuple[int, ...]) -> None:
    queue = FeatureQueue(8, 1, init="empty", normalise=False, labels=True)
    numbers = iter(range(1, 1000))
    batches = [[next(numbers) for _ in range(n)] for n in sizes]
    for batch in batches:
        queue.enqueue(
            torch.tensor(batch, dtype=torch.float32).view(-1, 1), torch.tensor(batch, dtype=torch.int64)
        )
    expected = plain(8, batches)

    assert queue.rows.flatten().tolist() == [row or 0 for row in expected]
    assert queue.labels is not None
    assert queue.labels.tolist() == [-1 if row is None else row for row in expected]
    assert queue.valid.tolist() == [row is not None for row in expected]
    assert int(queue.filled) == sum(row is not None for row in expected)
    assert int(queue.place) == sum(sizes) % 8


def test_two_steps_are_those_of_moco() -> None:
    # facebookresearch/moco 132aea9d moco/builder.py, temperature 0.2, queue of 64, batches of 32
    queue = FeatureQueue(64, 16).double()
    queue.rows = units(5, 64, 16)
    losses, gradients = [], []
    for step in range(2):
        q, k = sine(2 * step, 32, 16).requires_grad_(), sine(2 * step + 1, 32, 16)
        loss = info_nce(q, k, 0.2, queue.rows)
        queue.enqueue(k)
        loss.backward()
        losses.append(float(loss.detach()))
        gradients.append(figures(q.grad))

    assert losses == exactly(4.75416948115, 4.771475148)
    assert gradients[0] == exactly(-0.0414799189189, 0.093129319702, -0.0146501636692, -0.0089390719749)
    assert gradients[1] == exactly(0.0692557111492, 0.0926155688369, 0.00760673618315, 0.0283987631671)
    assert figures(queue.rows) == exactly(0.628898410191, 64.0, 0.381506956194, -0.205864315409)
    assert int(queue.place) == 0


def test_random_rows_have_length_1_and_columns_do_not() -> None:
    queue = FeatureQueue(50, 8)

    torch.testing.assert_close(queue.rows.norm(dim=1), torch.ones(50))
    assert queue.rows.norm(dim=0).min() > 1.5
    assert queue.valid.all()


def test_rows_come_normalised_without_their_gradient() -> None:
    queue = FeatureQueue(4, 3, init="empty")
    rows = (5 * torch.randn(2, 3)).requires_grad_()
    queue.enqueue(rows)

    assert not queue.rows.requires_grad
    torch.testing.assert_close(queue.rows[:2], F.normalize(rows.detach(), dim=1))
    assert queue.rows[2:].abs().sum() == 0


def test_rows_keep_their_type() -> None:
    queue = FeatureQueue(4, 3)
    queue.enqueue(torch.randn(2, 3, dtype=torch.bfloat16))
    double = FeatureQueue(4, 3).double()
    double.enqueue(torch.randn(2, 3))

    assert queue.rows.dtype == torch.float32
    assert double.rows.dtype == torch.float64
    assert double.place.dtype == double.filled.dtype == torch.int64


def test_a_stopped_queue_goes_on_bit_for_bit() -> None:
    queue, resumed = FeatureQueue(5, 3, labels=True), FeatureQueue(5, 3, labels=True)
    queue.enqueue(torch.randn(3, 3), torch.arange(3))
    resumed.load_state_dict(queue.state_dict())
    copied = copy.deepcopy(queue)
    rows = torch.randn(4, 3)
    for each in (queue, resumed, copied):
        each.enqueue(rows, torch.arange(4))

    for other in (resumed, copied):
        assert all(torch.equal(value, other.state_dict()[name]) for name, value in queue.state_dict().items())
    assert set(queue.state_dict()) == {"rows", "labels", "place", "filled"}
    assert set(FeatureQueue(5, 3).state_dict()) == {"rows", "place", "filled"}


def test_what_does_not_fit_a_queue_is_refused_and_changes_nothing() -> None:
    queue = FeatureQueue(4, 3, labels=True)
    before = queue.rows
    for rows, labels, said in (
        (torch.zeros(2, 5), torch.zeros(2), r"rows are \(2, 5\), but its own have 3 numbers"),
        (torch.zeros(2, 3), None, "2 rows came without labels"),
        (torch.zeros(2, 3), torch.zeros(3), r"labels are \(3,\) for 2 rows"),
    ):
        with pytest.raises(ValueError, match=said):
            queue.enqueue(rows, labels)
    with pytest.raises(ValueError, match="keeps none"):
        FeatureQueue(4, 3).enqueue(torch.zeros(2, 3), torch.zeros(2))
    with pytest.raises(BadValue, match="size is 0"):
        FeatureQueue(0, 3)
    with pytest.raises(BadValue, match=r"'zeros'\. Known: random, empty"):
        FeatureQueue(4, 3, init="zeros")

    assert queue.rows is before


def test_the_bank_moves_as_npids() -> None:
    # zhirongw/lemniscate.pytorch f7cfe298 lib/LinearAverage.py, momentum 0.5
    bank = MemoryBank(20, 6).double()
    bank.rows = units(9, 20, 6)
    bank.update(torch.tensor([1, 4, 7, 10, 13, 16, 19, 2]), sine(0, 8, 6), 0.5)

    assert figures(bank.rows) == exactly(-5.99197591365, 20.0, 0.243518603025, 0.247989476433)
    assert bank.rows[1].tolist() == exactly(
        *(-0.488623938604, -0.262887448142, -0.00114867788876),
        *(0.258608604076, 0.478994482641, 0.629143379739),
    )


def test_the_bank_moves_by_its_formula_and_leaves_the_other_rows() -> None:
    bank = MemoryBank(4, 3).double()
    before, f = bank.rows.clone(), torch.randn(2, 3).double()
    bank.update(torch.tensor([3, 0]), f, 0.25)

    def moved(old: list[float], new: list[float]) -> list[float]:
        mixed = [0.25 * a + 0.75 * b / math.hypot(*new) for a, b in zip(old, new, strict=True)]
        return [value / math.hypot(*mixed) for value in mixed]

    for image, row in ((3, 0), (0, 1)):
        assert bank.rows[image].tolist() == pytest.approx(moved(before[image].tolist(), f[row].tolist()))
    assert torch.equal(bank.rows[1:3], before[1:3])


def test_the_bank_starts_uniform_with_rows_of_about_length_1() -> None:
    rows: Tensor = MemoryBank(500, 12).rows

    assert rows.abs().max() <= 0.5  # 1 / sqrt(12 / 3)
    assert rows.max() > 0.49
    assert rows.min() < -0.49
    assert float(rows.norm(dim=1).square().mean()) == pytest.approx(1, abs=0.05)


def test_what_does_not_fit_a_bank_is_refused() -> None:
    bank = MemoryBank(4, 3)

    with pytest.raises(ValueError, match=r"rows are \(2, 3\) for 1 images"):
        bank.update(torch.tensor([0]), torch.zeros(2, 3), 0.5)
    with pytest.raises(ValueError, match="momentum is 2"):
        bank.update(torch.tensor([0]), torch.zeros(1, 3), 2)
    with pytest.raises(BadValue, match="images is 0"):
        MemoryBank(0, 3)

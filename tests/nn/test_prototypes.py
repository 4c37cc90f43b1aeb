"""Prototypes, codes and centres are those of SwAV and DINO."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from sines import exactly, figures, sine, units
from torch import Tensor

from bench.errors import BadValue
from bench.nn.losses import soft_cross_entropy
from bench.nn.prototypes import Centre, Prototypes, sinkhorn


def scores(*shape: int) -> Tensor:
    x = sine(0, *shape)
    return x / x.abs().max()


def plain(s: list[list[float]], epsilon: float, iterations: int) -> list[list[float]]:
    """Return SwAV's codes, number by number."""
    q = [[math.exp(x / epsilon) for x in row] for row in s]
    n, count = len(q), len(q[0])
    for _ in range(iterations):
        columns = [sum(row[k] for row in q) for k in range(count)]
        q = [[x / columns[k] / count for k, x in enumerate(row)] for row in q]
        q = [[x / sum(row) / n for x in row] for row in q]
    return [[x * n for x in row] for row in q]


def test_codes_are_swavs() -> None:
    # facebookresearch/swav 06b1b7cb main_swav.py, distributed_sinkhorn
    sharp = sinkhorn(scores(8, 5), epsilon=0.05)
    many = sinkhorn(scores(33, 16), epsilon=0.05)
    soft = sinkhorn(sine(0, 8, 6), epsilon=0.5)

    assert figures(sharp) == exactly(8.0, 3.71591417433, 1.59061984259e-09, 0.0369882770817)
    assert figures(many) == exactly(33.0, 14.0260982309, 1.10681504721e-09, 1.29675954704e-08)
    assert figures(soft) == exactly(8.0, 1.91254376088, 0.0116076023512, 0.0326032878969)
    assert sharp.sum(dim=0).tolist() == exactly(
        1.65706274675, 1.73090042638, 1.71237446138, 1.47456299858, 1.42509936691
    )


@pytest.mark.parametrize("iterations", [1, 2, 10])
def test_codes_are_the_plain_loops(iterations: int) -> None:
    codes = sinkhorn(scores(9, 4), epsilon=0.1, iterations=iterations)
    expected = torch.tensor(plain(scores(9, 4).tolist(), 0.1, iterations), dtype=torch.float64)

    torch.testing.assert_close(codes, expected)


def test_rows_sum_to_1_and_columns_even_out() -> None:
    codes = sinkhorn(
        torch.randn(64, 8, generator=torch.Generator().manual_seed(0)), epsilon=0.5, iterations=50
    )

    torch.testing.assert_close(codes.sum(dim=1), torch.ones(64))
    torch.testing.assert_close(codes.sum(dim=0), torch.full((8,), 8.0))


def test_codes_are_finite_where_the_exponential_is_not() -> None:
    s = scores(33, 16).float()
    s[:, 3] = -1  # a prototype far from all: nothing is left of it beside the others
    codes = sinkhorn(s, epsilon=0.005)

    assert (s / 0.005).exp().isinf().any()
    assert codes.isfinite().all()
    torch.testing.assert_close(codes.sum(dim=1), torch.ones(33))


def test_codes_of_half_precision_are_float32_and_scores_are_left_alone() -> None:
    s = scores(8, 5).bfloat16().requires_grad_()
    before = s.detach().clone()
    codes = sinkhorn(s, epsilon=0.05)

    assert codes.dtype == torch.float32
    assert not codes.requires_grad
    assert torch.equal(s.detach(), before)


@pytest.mark.parametrize("arguments", [{"epsilon": 0.0}, {"epsilon": 0.05, "iterations": 0}])
def test_what_makes_no_codes_is_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(BadValue, match="sinkhorn: epsilon is"):
        sinkhorn(scores(8, 5), **arguments)


def test_a_step_is_swavs() -> None:
    # facebookresearch/swav 06b1b7cb main_swav.py, temperature 0.1, two crops, no queue
    prototypes = Prototypes(6, 5).double()
    prototypes.weight.data = 3 * units(9, 5, 6)
    prototypes.normalise_()
    views = [sine(stream, 8, 6).requires_grad_() for stream in (0, 1)]
    a, b = (prototypes(z) for z in views)
    codes = [sinkhorn(each, epsilon=0.05) for each in (a, b)]
    loss = (soft_cross_entropy(b / 0.1, codes[0]) + soft_cross_entropy(a / 0.1, codes[1])) / 2
    loss.backward()

    assert float(loss.detach()) == pytest.approx(1.40120083482, rel=1e-10)
    assert figures(codes[0])[1:3] == exactly(6.62315021171, 2.71809036391e-15)
    assert figures(prototypes.weight.grad)[1:] == exactly(1.67446829763, 0.344512985286, 0.20817234561)
    assert figures(views[0].grad) == exactly(
        0.323845735464, 0.180155724006, -0.00198056471391, -0.0766905640555
    )


def test_prototypes_have_length_1_at_first_and_again_after_a_step() -> None:
    prototypes = Prototypes(4, 7)
    first = prototypes.weight.norm(dim=1)
    prototypes.weight.data += 0.3
    prototypes.normalise_()

    torch.testing.assert_close(first, torch.ones(7))
    torch.testing.assert_close(prototypes.weight.norm(dim=1), torch.ones(7))
    assert prototypes.weight.requires_grad
    assert list(prototypes.state_dict()) == ["weight"]


def test_scores_are_cosines() -> None:
    prototypes = Prototypes(4, 7)
    z = torch.randn(5, 4)
    cosines = F.cosine_similarity(z.unsqueeze(1), prototypes.weight.unsqueeze(0), dim=2)

    torch.testing.assert_close(prototypes(9 * z), cosines)


def test_the_centre_is_dinos() -> None:
    # facebookresearch/dino 7c446df5 main_dino.py, teacher 0.04 -> 0.055 -> 0.07, student 0.1, two crops
    centre = Centre(6).double()
    losses = []
    for call, temperature in enumerate((0.04, 0.055, 0.07)):
        student, teacher = sine(2 * call, 8, 6).chunk(2), sine(2 * call + 1, 8, 6)
        targets = (centre(teacher) / temperature).softmax(dim=1).chunk(2)
        pairs = ((student[0], targets[1]), (student[1], targets[0]))
        losses.append(sum(float(soft_cross_entropy(s / 0.1, t)) for s, t in pairs) / 2)
        centre.update(teacher)

    assert losses == exactly(8.33877518435, 10.9300189961, 7.71844480168)
    assert figures(centre.value) == exactly(
        -0.0298624019541, 0.000168083642298, -0.00286042367391, -0.00235310934955
    )


def test_the_centre_of_tokens_is_over_all_of_them() -> None:
    tokens = torch.randn(3, 5, 4)
    flat, deep = Centre(4), Centre(4)
    flat.update(tokens.flatten(0, 1))
    deep.update(tokens)

    torch.testing.assert_close(deep.value, 0.1 * tokens.mean(dim=(0, 1)))
    assert torch.equal(flat.value, deep.value)
    assert list(flat.state_dict()) == ["value"]


def test_a_momentum_that_is_none_is_refused() -> None:
    with pytest.raises(BadValue, match="momentum is -1"):
        Centre(4, momentum=-1)

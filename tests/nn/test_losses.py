"""Each loss is its formula in plain loops, and what the authors' code gives."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from sines import exactly, figures, sine, units
from torch import Tensor

from bench.nn.losses import (
    cosine_distance,
    cross_correlation,
    info_nce,
    masked_mean,
    nt_xent,
    off_diagonal_sum_of_squares,
    soft_cross_entropy,
)


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def cosine(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))


def test_nt_xent_is_simclrs() -> None:
    # vturrisi/solo-learn 9187ea39 solo/losses/simclr.py, and lightly 1.6.0 lightly/loss/ntx_ent_loss.py
    for temperature, loss, first, second in (
        (0.2, 4.69170371005, [0.089630105139, -0.0160457178328], [0.0902853424681, 0.0142772534924]),
        (0.5, 3.88569901628, [0.014398007727, -0.00627939503086], [0.0144587455153, 0.00614241698042]),
    ):
        a, b = sine(0, 33, 16).requires_grad_(), sine(1, 33, 16).requires_grad_()
        value = nt_xent(a, b, temperature)
        value.backward()

        assert float(value.detach()) == pytest.approx(loss, rel=1e-10)
        assert figures(a.grad)[1:3] == exactly(*first)
        assert figures(b.grad)[1:3] == exactly(*second)


def test_nt_xent_does_not_depend_on_how_many_rows_are_there_at_a_time() -> None:
    a, b = random(2, 7, 5).unbind(0)
    whole, parts = nt_xent(a, b, 0.3), nt_xent(a, b, 0.3, rows=3)

    torch.testing.assert_close(parts, whole)


def test_nt_xents_gradient_is_that_of_its_differences() -> None:
    a, b = random(2, 4, 3).unbind(0)

    assert torch.autograd.gradcheck(
        lambda x, y: nt_xent(x, y, 0.5, rows=3), (a.requires_grad_(), b.requires_grad_())
    )


def test_info_nce_with_a_queue_is_mocos() -> None:
    # facebookresearch/moco 132aea9d moco/builder.py and main_moco.py
    q = sine(0, 8, 6).requires_grad_()
    loss = info_nce(q, sine(1, 8, 6), 0.2, 7 * units(5, 16, 6))
    loss.backward()

    assert float(loss.detach()) == pytest.approx(3.40372893684, rel=1e-10)
    assert figures(q.grad) == exactly(0.162391064809, 1.39953166518, -0.0922650157225, -0.0447243722926)


def test_info_nce_without_a_queue_is_moco_v3s() -> None:
    # facebookresearch/moco-v3 c349e6e2 moco/builder.py, temperature 0.2: the sum of both directions, times 2T
    q = [sine(stream, 33, 16).requires_grad_() for stream in (0, 1)]
    k = [sine(stream, 33, 16) for stream in (2, 3)]
    loss = 0.4 * (info_nce(q[0], k[1], 0.2) + info_nce(q[1], k[0], 0.2))
    loss.backward()

    assert float(loss.detach()) == pytest.approx(6.28672355003, rel=1e-10)
    assert figures(q[0].grad) == exactly(
        -0.0175182682557, 0.000918307074195, -0.000515902313042, -0.000388824135015
    )


def test_info_nce_is_the_plain_loop() -> None:
    q, k, queue = random(4, 5), random(4, 5).roll(1), random(6, 5)
    queries, keys, rows = q.tolist(), k.tolist(), queue.tolist()

    def loss(i: int, others: list[list[float]]) -> float:
        positive = math.exp(cosine(queries[i], keys[i]) / 0.3)
        return -math.log(positive / (positive + sum(math.exp(cosine(queries[i], r) / 0.3) for r in others)))

    with_queue = sum(loss(i, rows) for i in range(4)) / 4
    without = sum(loss(i, [key for j, key in enumerate(keys) if j != i]) for i in range(4)) / 4
    partly = sum(loss(i, [rows[1], rows[4]]) for i in range(4)) / 4
    valid = torch.tensor([False, True, False, False, True, False])

    assert float(info_nce(q, k, 0.3, queue)) == pytest.approx(with_queue)
    assert float(info_nce(q, k, 0.3)) == pytest.approx(without)
    assert float(info_nce(q, k, 0.3, queue, valid)) == pytest.approx(partly)


def test_info_nce_of_an_empty_queue_is_nothing_and_has_a_gradient() -> None:
    q = random(4, 5).requires_grad_()
    loss = info_nce(q, random(4, 5), 0.2, torch.zeros(6, 5).double(), torch.zeros(6, dtype=torch.bool))
    loss.backward()

    assert float(loss.detach()) == 0
    assert q.grad.isfinite().all()


def test_info_nce_knows_no_scale_and_gives_the_queue_no_gradient() -> None:
    q, k, queue = random(4, 5), random(4, 5).flip(0), random(6, 5).requires_grad_()
    loss = info_nce(q.requires_grad_(), k, 0.2, queue)
    loss.backward()

    torch.testing.assert_close(info_nce(3 * q, 0.1 * k, 0.2, 9 * queue), loss)
    assert queue.grad is None
    with pytest.raises(ValueError, match="no queue that it is of"):
        info_nce(q, k, 0.2, valid=torch.ones(6, dtype=torch.bool))
    with pytest.raises(ValueError, match="no queue that it is of"):
        info_nce(q, k, 0.2, own=random(4, 2, 5))


def test_info_nce_contrasts_each_query_with_negatives_of_its_own() -> None:
    q, k, queue, own = random(4, 5).requires_grad_(), random(4, 5), random(6, 5), random(4, 3, 5)
    own.requires_grad_()
    loss = info_nce(q, k, 0.3, queue, own=own)
    alone = [info_nce(q[[i]], k[[i]], 0.3, torch.cat([queue, own[i]])) for i in range(4)]
    loss.backward()

    torch.testing.assert_close(loss, torch.stack(alone).mean())
    assert own.grad is None


def test_info_nce_leaves_the_empty_rows_of_a_queue_out_beside_a_querys_own() -> None:
    q, k, queue, own = random(4, 5), random(4, 5), random(6, 5), random(4, 3, 5)
    valid = torch.arange(6) < 2

    torch.testing.assert_close(
        info_nce(q, k, 0.3, queue, valid, own), info_nce(q, k, 0.3, queue[:2], own=own)
    )


@pytest.mark.parametrize(("eps", "expected"), [(1e-5, 5.22932331733), (0.0, 5.22919829476)])
def test_the_cross_correlation_gives_barlow_twins_loss(eps: float, expected: float) -> None:
    # facebookresearch/barlowtwins 8e8d284c main.py, lambda 0.0051; without its eps by equation 1
    z = [sine(stream, 33, 16).requires_grad_() for stream in (0, 1)]
    c = cross_correlation(*z, eps=eps)
    loss = (c.diagonal() - 1).square().sum() + 0.0051 * off_diagonal_sum_of_squares(c)
    loss.backward()

    assert float(loss.detach()) == pytest.approx(expected, rel=1e-10)
    if eps:
        assert figures(z[0].grad)[1:] == exactly(0.799242634909, -0.042031904865, -0.0236770912854)


def test_the_cross_correlation_is_numpys() -> None:
    a, b = random(2, 9, 4).unbind(0)
    both = torch.corrcoef(torch.cat([a, b], dim=1).T)

    torch.testing.assert_close(cross_correlation(a, b, eps=0), both[:4, 4:])
    torch.testing.assert_close(cross_correlation(3 * a + 5, b, eps=0), both[:4, 4:])


def test_a_constant_column_correlates_with_nothing() -> None:
    a = random(9, 4)
    a[:, 2] = 3
    c = cross_correlation(a.requires_grad_(), random(9, 4).flip(0))
    c.square().sum().backward()

    assert c[2].abs().max() < 1e-9
    assert a.grad.isfinite().all()


@pytest.mark.parametrize("d", [1, 2, 5])
def test_off_the_diagonal_is_the_plain_loop(d: int) -> None:
    matrix = random(d, d)
    expected = sum(matrix[i, j] ** 2 for i in range(d) for j in range(d) if i != j)

    assert float(off_diagonal_sum_of_squares(matrix)) == pytest.approx(float(expected))
    assert float(off_diagonal_sum_of_squares(matrix.T)) == pytest.approx(float(expected))


def test_what_is_small_beside_the_diagonal_is_not_lost() -> None:
    matrix = 1000 * torch.eye(64)
    matrix[3, 7] = 1e-3

    assert float(off_diagonal_sum_of_squares(matrix)) == pytest.approx(1e-6)


def test_the_soft_cross_entropy_is_the_plain_loop_and_torchs() -> None:
    logits, targets = random(2, 6, 5).unbind(0)
    targets = targets.softmax(dim=1)
    rows = zip(logits.tolist(), targets.tolist(), strict=True)
    expected = 0.0
    for s, t in rows:
        total = sum(math.exp(x) for x in s)
        expected -= sum(p * math.log(math.exp(x) / total) for x, p in zip(s, t, strict=True)) / 6

    assert float(soft_cross_entropy(logits, targets)) == pytest.approx(expected)
    torch.testing.assert_close(soft_cross_entropy(logits, targets), F.cross_entropy(logits, targets))
    torch.testing.assert_close(
        soft_cross_entropy(logits.view(2, 3, 5), targets.view(2, 3, 5)), F.cross_entropy(logits, targets)
    )


def test_collapse_has_the_entropy_of_as_many_classes() -> None:
    same = torch.full((4, 512), 1 / 512)

    assert float(soft_cross_entropy(torch.zeros(4, 512), same)) == pytest.approx(math.log(512))


def test_the_cosine_distance_gives_byols_loss() -> None:
    # google-deepmind/deepmind-research 4822a455 byol/utils/helpers.py; lightly 1.6.0 for the last
    p = [sine(stream, 8, 6).requires_grad_() for stream in (0, 1)]
    t = [sine(stream, 8, 6) for stream in (2, 3)]
    loss = cosine_distance(p[0], t[1]) + cosine_distance(p[1], t[0])
    loss.backward()

    assert float(loss.detach()) == pytest.approx(4.90657660585, rel=1e-10)
    assert figures(p[0].grad) == exactly(
        0.112662504993, 0.00990139819036, -0.00763724015946, -0.00580201394826
    )
    assert (float(loss.detach()) - 4) / 4 == pytest.approx(0.226644151463, rel=1e-10)


def test_the_cosine_distance_is_between_0_and_4() -> None:
    p = random(5, 4)

    assert float(cosine_distance(p, 3 * p)) == pytest.approx(0)
    assert float(cosine_distance(p, -p)) == pytest.approx(4)


def test_the_masked_mean_is_the_plain_loop() -> None:
    values, mask = random(3, 4), torch.tensor([[1, 0, 1, 1], [0, 0, 0, 1], [1, 1, 0, 0]]).bool()
    expected = 0.0
    for row, hidden in zip(values.tolist(), mask.tolist(), strict=True):
        kept = [value for value, masked in zip(row, hidden, strict=True) if masked]
        expected += sum(kept) / len(kept) / 3

    assert float(masked_mean(values, mask)) == pytest.approx(expected)


def test_an_image_without_a_mask_counts_as_nothing_lost() -> None:
    values = torch.tensor([[1.0, 3.0], [math.nan, 5.0]]).requires_grad_()
    loss = masked_mean(values, torch.tensor([[True, True], [False, False]]))
    loss.backward()

    assert float(loss.detach()) == 1.0
    assert values.grad.tolist() == [[0.25, 0.25], [0, 0]]

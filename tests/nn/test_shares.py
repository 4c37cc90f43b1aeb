"""Shares of a batch have batch norm's statistics of their own, and keys other shares than queries."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from bench.nn.shares import in_shares

IMAGES = torch.randn(12, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class Counting(nn.Module):
    """Batch norm that notes how many images it has seen at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.seen = nn.BatchNorm2d(3).double(), list[int]()

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(len(images))
        out: Tensor = self.norm(images)
        return out


class Plain(Counting):
    """The same without batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, 3).double()  # type: ignore[assignment]


def standardised(images: Tensor, groups: list[list[int]]) -> Tensor:
    """Return images with the mean and deviation of each channel of their group taken out, in plain loops."""
    out = torch.empty_like(images)
    for group in groups:
        for channel in range(images.shape[1]):
            values = [float(x) for i in group for x in images[i, channel].flatten()]
            mean = sum(values) / len(values)
            variance = sum((x - mean) ** 2 for x in values) / len(values)
            for i in group:
                out[i, channel] = (images[i, channel] - mean) / (variance + 1e-5) ** 0.5
    return out


def test_each_share_has_statistics_of_its_own() -> None:
    expected = standardised(IMAGES, [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]])

    torch.testing.assert_close(in_shares(Counting(), IMAGES, 4), expected)


def test_in_another_order_shares_are_of_other_images_and_rows_come_back_in_theirs() -> None:
    order = torch.tensor([11, 3, 9, 0, 7, 2, 10, 1, 8, 4, 6, 5]) / 12
    places = [3, 7, 5, 1, 9, 11, 10, 4, 8, 2, 6, 0]  # of the smallest number, of the next, ...
    expected = standardised(IMAGES, [places[:4], places[4:8], places[8:]])

    torch.testing.assert_close(in_shares(Counting(), IMAGES, 4, order), expected)


@pytest.mark.parametrize(
    ("images", "size", "shares"),
    [
        (12, 4, [4, 4, 4]),
        (12, 5, [4, 4, 4]),
        (11, 4, [4, 4, 3]),
        (12, 0, [12]),
        (12, 12, [12]),
        (12, 20, [12]),
        (5, 1, [3, 2]),
        (3, 2, [3]),
        (1, 1, [1]),
    ],
)
def test_shares_are_even_and_none_is_of_one_image(images: int, size: int, shares: list[int]) -> None:
    network = Counting()
    in_shares(network, IMAGES[:images], size)

    assert network.seen == shares


def test_a_network_without_batch_norm_is_run_once() -> None:
    network = Plain()
    in_shares(network, IMAGES, 4)

    assert network.seen == [12]


def test_in_evaluation_shares_change_nothing() -> None:
    network = Counting().eval()

    torch.testing.assert_close(in_shares(network, IMAGES, 4, torch.rand(12)), network(IMAGES))


def test_the_gradient_is_that_of_the_shares_one_by_one() -> None:
    weight, network = torch.randn_like(IMAGES), Counting()
    whole, parts = IMAGES.clone().requires_grad_(), IMAGES.clone().requires_grad_()
    (in_shares(network, whole, 6) * weight).sum().backward()
    for rows in (slice(0, 6), slice(6, 12)):
        (network(parts[rows]) * weight[rows]).sum().backward()

    assert whole.grad is not None
    torch.testing.assert_close(whole.grad, parts.grad)


def test_the_running_statistics_move_once_a_share() -> None:
    network = Counting()
    in_shares(network, IMAGES, 4)

    assert int(network.norm.num_batches_tracked) == 3  # type: ignore[arg-type]

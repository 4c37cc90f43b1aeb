"""Views of a size go through the network together."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench.nn.crops import each_size


def views(*sizes: int, n: int = 2) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(n, 3, size, size, generator=generator) for size in sizes]


class Counted(nn.Module):
    """The mean of each channel, and what came through."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, images: Tensor) -> Tensor:
        self.shapes.append(tuple(images.shape))
        return images.mean(dim=(2, 3))


def test_the_network_runs_once_a_size_in_the_order_of_first_appearance() -> None:
    network = Counted()
    given = views(8, 6, 8, 4, 6, 6)
    outputs = each_size(network, given)

    assert network.shapes == [(4, 3, 8, 8), (6, 3, 6, 6), (2, 3, 4, 4)]
    for output, view in zip(outputs, given, strict=True):
        torch.testing.assert_close(output, view.mean(dim=(2, 3)))


def test_outputs_may_have_any_rank_and_views_any_number_of_images() -> None:
    given = [*views(8, n=3), *views(8, n=1), *views(4, n=2)]
    outputs = each_size(lambda images: images.flatten(2).transpose(1, 2), given)

    assert [tuple(output.shape) for output in outputs] == [(3, 64, 3), (1, 64, 3), (2, 16, 3)]
    assert torch.equal(outputs[1], given[1].flatten(2).transpose(1, 2))


def test_sides_and_not_their_product_tell_sizes_apart() -> None:
    given = [torch.zeros(1, 3, 4, 8), torch.zeros(1, 3, 8, 4)]

    assert [tuple(output.shape) for output in each_size(nn.Identity(), given)] == [(1, 3, 4, 8), (1, 3, 8, 4)]


def test_batch_norm_sees_all_views_of_a_size() -> None:
    norm = nn.BatchNorm2d(3)
    given = views(8, 6, 8)
    outputs = each_size(norm, given)
    expected = nn.BatchNorm2d(3)(torch.cat([given[0], given[2]]))

    torch.testing.assert_close(torch.cat([outputs[0], outputs[2]]), expected)
    assert norm.num_batches_tracked == 2


def test_nothing_is_made_of_no_views() -> None:
    assert each_size(nn.Identity(), []) == []

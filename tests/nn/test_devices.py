"""A step waits for no device, mixes no two, and asks none for float64.

Tensors of the meta device have no numbers: reading one, or meeting one of the CPU, is an error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bench.nn import losses
from bench.nn.clustering import spherical_kmeans
from bench.nn.crops import each_size
from bench.nn.heads import DINOHead, projector
from bench.nn.masking import patchify, unpatchify
from bench.nn.momentum import MomentumEncoder
from bench.nn.prototypes import Centre, Prototypes, sinkhorn
from bench.nn.queue import FeatureQueue, MemoryBank
from bench.nn.transformer import TokenDecoder

META = torch.device("meta")


class NoFloat64(TorchDispatchMode):
    """Refuse whatever makes a tensor of float64 on the device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        tensors = [x for x in tree_leaves(made) if isinstance(x, Tensor)]
        assert not [x for x in tensors if x.device == META and x.dtype == torch.float64], func
        return made


def z(*shape: int) -> Tensor:
    return torch.zeros(*shape, device=META, requires_grad=True)


def numbers(*shape: int) -> Tensor:
    return torch.zeros(*shape, device=META, dtype=torch.int64)


def queued() -> Tensor:
    queue = FeatureQueue(8, 4, init="empty", labels=True).to(META)
    queue.enqueue(z(3, 4), numbers(3))
    return losses.info_nce(z(3, 4), z(3, 4), 0.2, queue.rows, queue.valid)


def banked() -> Tensor:
    bank = MemoryBank(8, 4).to(META)
    bank.update(numbers(3), z(3, 4), 0.5)
    return z(3, 4) @ bank.rows.T


def followed() -> Tensor:
    source = projector(4, 8, 4).to(META)
    encoder = MomentumEncoder(source, buffers="averaged")
    encoder.update(source, 0.99)
    return source(encoder(z(3, 4)))


def clustered() -> Tensor:
    prototypes = Prototypes(4, 5).to(META)
    prototypes.normalise_()
    centroids, _ = spherical_kmeans(z(3, 4), z(5, 4), 2)
    scores = prototypes(z(3, 4)) + z(3, 4) @ centroids.T
    return losses.soft_cross_entropy(scores / 0.1, sinkhorn(scores, epsilon=0.05))


def centred() -> Tensor:
    head, centre = DINOHead(4, 5, hidden_dim=8, bottleneck_dim=4).to(META), Centre(5).to(META)
    logits = head(z(3, 4))
    targets = centre(logits.detach()).softmax(dim=1)
    centre.update(logits)
    return losses.soft_cross_entropy(logits, targets)


def decoded() -> Tensor:
    decoder = TokenDecoder(dim=4, width=8, depth=1, heads=2, out_dim=12, rows=2, columns=2).to(META)
    predicted = decoder(z(3, 2, 4), numbers(3, 2), z(3, 1, 4))
    target = patchify(unpatchify(predicted, 2, 2, 2), 2)
    return losses.masked_mean((predicted - target).square().mean(dim=2), numbers(3, 4).bool())


def correlated() -> Tensor:
    return losses.off_diagonal_sum_of_squares(losses.cross_correlation(z(3, 4), z(3, 4)))


def contrasted() -> Tensor:
    return losses.nt_xent(z(3, 4), z(3, 4), 0.2) + losses.info_nce(z(3, 4), z(3, 4), 0.2)


def cropped() -> Tensor:
    a, b = each_size(nn.Conv2d(3, 2, 1).to(META), [z(2, 3, 4, 4), z(2, 3, 2, 2)])
    return losses.cosine_distance(a.flatten(1).sum(dim=1, keepdim=True), b.flatten(1)[:, :1])


@pytest.mark.parametrize(
    "step", [queued, banked, followed, clustered, centred, decoded, correlated, contrasted, cropped]
)
def test_a_step_reads_nothing_from_its_device(step: Callable[[], Tensor]) -> None:
    torch.manual_seed(0)
    with NoFloat64():
        loss = step().sum()
        loss.backward()

    assert loss.device == META
    assert loss.dtype == torch.float32

"""A batch through a network share by share, as several devices would have it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.overrides import handle_torch_function, has_torch_function_unary

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def in_shares(network: nn.Module, images: Tensor, size: int, order: Tensor | None = None) -> Tensor:
    """Return what the network makes of images, batch norm's statistics being those of a share of them.

    Where an image is contrasted with another view of it, and both are in a batch together, batch norm
    tells the network which belong together: statistics of the same images. The loss falls, and nothing is
    learned. On several devices that do not share their statistics this is mended by dealing the images out
    in one order for the queries and in another for the keys (ShuffleBN). This does so on one device: the
    images go through the network in shares, of which each has statistics of its own and moves the running
    ones once. A network without batch norm is run once.

    Args:
        network: maps (m, c, h, w) to (m, ...), a row an image.
        images: (n, c, h, w).
        size: images a share, at most; shares are alike but for one image, and none has a single one.
            0 is all images in one.
        order: (n,) random numbers: the images are dealt out in their ascending order, and the rows come
            back in the order of the images; none is as they are.

    Returns:
        (n, ...).

    Source: He 2020 (MoCo), arXiv:1911.05722, 3.3; facebookresearch/moco moco/builder.py and
    colab/moco_cifar10_demo.ipynb, whose split norm takes every 8th image for a share and moves the running
    statistics by the mean of all shares'.
    """
    if has_torch_function_unary(images):  # several devices: each has some of the images
        shared: Tensor = handle_torch_function(in_shares, (images,), network, images, size, order)
        return shared
    count = count_shares(network, len(images), size)
    if count == 1:
        whole: Tensor = network(images)
        return whole
    if order is None:
        return torch.cat([network(share) for share in images.tensor_split(count)])
    places = order.argsort(stable=True)
    rows = torch.cat([network(share) for share in images[places].tensor_split(count)])
    return rows[places.argsort()]


def count_shares(network: nn.Module, images: int, size: int) -> int:
    """Return in how many shares `in_shares` takes images through a network: one if it has no batch norm."""
    count = min(-(-images // size), images // 2) if size else 1
    return max(1, count) if any(isinstance(module, NORMS) for module in network.modules()) else 1

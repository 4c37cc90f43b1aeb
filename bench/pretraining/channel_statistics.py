"""The mean and the standard deviation of each channel of the training images."""

from __future__ import annotations

import torch

from bench.contracts.dataset import Images

IMAGES_AT_ONCE = 1_000  # images at a time: they may be in a file that is larger than memory
ChannelStatistics = tuple[
    tuple[float, ...], tuple[float, ...]
]  # mean and standard deviation, a value a channel


def measure_channels(images: Images) -> ChannelStatistics:
    """Return the mean and the standard deviation of each channel, in [0, 1], exactly."""
    values = torch.arange(256, dtype=torch.float64) / 255
    counts = torch.zeros(images.pixels.shape[1], 256, dtype=torch.int64)
    for part in images.pixels.split(IMAGES_AT_ONCE):
        for channel, count in zip(part.unbind(1), counts, strict=True):
            count.add_(torch.bincount(channel.flatten(), minlength=256))
    mean, std = [], []
    for count in counts:
        share = count.double() / count.sum()
        centre = float((share * values).sum())
        mean.append(centre)
        std.append(max(1 / 255, float((share * (values - centre) ** 2).sum().sqrt())))
    return tuple(mean), tuple(std)

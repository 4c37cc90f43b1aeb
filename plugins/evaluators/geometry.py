"""Measure how features lie in their space, without a label.

    rankme        exp(entropy of the shares of the singular values), features as they are
    alpha_req     exponent of the decay of the covariance's eigenvalues
    lidar         exp(entropy of the eigenvalues between images, in units of those between views)
    alignment     mean squared distance between two views of one image, at length one
    uniformity    log of the mean of exp(-2 squared distance) over two images, at length one
    nesum         sum of the covariance's eigenvalues over the largest
    feature_std   standard deviation of features at length one, mean over dimensions
    correlation   mean absolute correlation of two features

Each has its definition, bounds and source where it is computed: alignment and uniformity here, the
others where `bench.api` has them from. Published codes disagree by a factor of three under one name.

None of them has a direction that holds between any two networks: a collapsed one has the least alignment,
noise the most rank, an untrained one may have the least correlation, a wider one the larger bound.

Differs from the papers: everything is measured on the backbone's features h, never on a projector's
embedding z; the views are of one fixed recipe; LiDAR has fewer of them. Ten of 1,000 images suffice
for the variance between views to have full rank up to 9,000 dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from bench.api import (
    LIDAR_DELTA,
    LIDAR_EPS,
    BadValue,
    Evaluator,
    Network,
    Scores,
    Task,
    View,
    alpha_req,
    correlation,
    covariance,
    embedding_std,
    exact_device,
    fit_range,
    lidar,
    nesum,
    rankme,
    require_finite,
    seed_of,
    setting,
    spectrum,
    unit_rows,
)

VIEW = View(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)  # SimCLR, B.9, whatever was trained
CHUNK_PIXELS = 1 << 20  # of images a pass
WIDEST = 8192  # a covariance of 512 MB
ROWS = 1024  # of a block of distances


class Geometry(Evaluator):
    """Label-free measures of the test features, and of augmented views of test images."""

    reference: ClassVar[str] = "Garrido 2023, https://arxiv.org/abs/2210.02885; others in the source"
    needs = "backbone"
    takes_fraction = False
    uses_labels = False

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """What changes the numbers."""

        rows: int = setting(10_000, "test images at most, drawn by the seed; RankMe's paper: 25,600", least=2)
        alpha_first: int = setting(
            11, "first eigenvalue of alpha_req's fit, counted from 1", source="reptrix 0.1.0", least=1
        )
        alpha_last: int = setting(100, "last eigenvalue of alpha_req's fit", source="reptrix 0.1.0", least=2)
        lidar_images: int = setting(
            1000, "images that views are made of", source="Thilak 2023, not checked", least=2
        )
        lidar_views: int = setting(10, "views an image; Thilak 2023: 50 (not checked)", least=2)

        def __post_init__(self) -> None:
            if self.alpha_first >= self.alpha_last:
                raise BadValue(
                    f"geometry.alpha_first: {self.alpha_first} is not less than alpha_last "
                    f"({self.alpha_last}). Set both."
                )

    config: Config

    @classmethod
    def excerpt(cls, config: Any, sample: Mapping[str, int], whole: Mapping[str, int]) -> tuple[Any, float]:
        """Return the config: nearly all of the time goes into views of at most `lidar_images` test images."""
        seen, all_seen = (min(rows["test"], config.lidar_images) for rows in (sample, whole))
        return config, all_seen / seen

    def evaluate(self, task: Task) -> Scores:
        """Measure the test features; the training features and all labels are not looked at."""
        network = task.needed_network("geometry")
        _refuse(task)
        exact = exact_device(task.device)
        x = task.test.x[draw_indices(len(task.test), self.config.rows, task.seed, "rows")].to(exact)
        views = self._views(network, task.seed).to(exact)
        spread = covariance(x)
        eigenvalues = spectrum(spread)
        metrics = {
            "rankme": rankme(x),
            "alpha_req": alpha_req(eigenvalues, self.config.alpha_first, self.config.alpha_last),
            "lidar": lidar(views),
            "alignment": alignment(views),
            "uniformity": uniformity(x),
            "nesum": nesum(eigenvalues),
            "feature_std": embedding_std(x),
            "correlation": correlation(spread),
        }
        return Scores(
            metrics={name: float(value) for name, value in metrics.items()},
            protocol=self._protocol(x, views, len(eigenvalues)),
            neither_is_better=frozenset(metrics),
        )

    def _views(self, network: Network, seed: int) -> Tensor:
        chosen = draw_indices(len(network.test), self.config.lidar_images, seed, "images")
        views = extract_views(network, network.test.pixels[chosen], self.config.lidar_views, seed)
        require_finite(views.flatten(0, 1), "geometry: the features of augmented test images")
        return views

    def _protocol(self, x: Tensor, views: Tensor, rank: int) -> dict[str, Any]:
        first, last = fit_range(rank, self.config.alpha_first, self.config.alpha_last)
        images, count, dim = views.shape
        return {
            "selected": "nothing",
            "selected_split": "nothing",
            "layer": "backbone output",
            "n": len(x),
            "d": dim,
            "views": f"{count} of each of {images} test images, SimCLR B.9 as far as it keeps the label",
            "rankme": "raw singular values, eps 1e-7",
            "alpha_req": f"centred covariance, eigenvalues {first} to {last} of {rank}, weights 1/i",
            "lidar": f"between over within views, delta {LIDAR_DELTA:g}, eps {LIDAR_EPS:g} after normalising",
            "alignment": "unit rows, squared distance, all pairs of views of an image",
            "uniformity": "unit rows, t 2, all pairs of two images",
            "nesum": "centred covariance",
            "feature_std": "unit rows, mean over dimensions",
            "correlation": "absolute, off the diagonal, without constant features",
        }


def _refuse(task: Task) -> None:
    """Refuse what has no geometry.

    Raises:
        BadValue: there is one image, or a covariance would be too large.
        CellError: a feature is not finite.
    """
    n, d = task.test.x.shape
    if n < 2:
        raise BadValue(f"geometry: there is {n} test image. Use a dataset with 2 or more.")
    if d > WIDEST:
        raise BadValue(
            f"geometry: the features have {d} dimensions, and their covariance at most {WIDEST}. "
            "Use a smaller train.image_size or another backbone."
        )
    require_finite(task.test.x, "geometry: the test features")


def draw_indices(n: int, most: int, seed: int, purpose: str) -> Tensor:
    """Return at most `most` of `n` indices in ascending order, (m,) int64; two purposes draw apart."""
    if n <= most:
        return torch.arange(n)
    generator = torch.Generator().manual_seed(seed_of(seed, "geometry", purpose))
    return torch.randperm(n, generator=generator)[:most].sort().values


def extract_views(network: Network, pixels: Tensor, count: int, seed: int) -> Tensor:
    """Return the features of `count` augmented views of each image, (n, count, d), float32.

    Args:
        network: whose backbone is used, in eval mode.
        pixels: (n, channels, h, w), uint8.
        count: views of an image, all of one fixed recipe: no method is measured on its own.
        seed: of the augmentations.
    """
    backbone = network.backbone()
    generator = torch.Generator().manual_seed(seed_of(seed, "geometry", "views"))
    parts = pixels.split(max(1, CHUNK_PIXELS // network.image_size**2))
    with torch.inference_mode():
        views = [
            torch.cat([backbone(network.augment(part, VIEW, generator)).float().cpu() for part in parts])
            for _ in range(count)
        ]
    return torch.stack(views, 1)


def alignment(views: Tensor) -> Tensor:
    """Return alignment, the mean squared distance between two views of one image, at length one.

        E ||f(x) - f(y)||^2,  f at length one, over images and all pairs of their q views

    In [0, 2q / (q - 1)]: [0, 4] of two views. 0 if views are alike, as of collapsed features: read
    it beside uniformity. 2 of an isotropic Gaussian that has nothing to do with the image.

    Args:
        views: (n, q, d), q at least 2.

    Source: Wang and Isola 2020, arXiv:2005.10242, section 4.1, with alpha 2. The authors' code
    (align_uniform) takes one pair an image, the same in the mean; others leave out the square, or
    the length, or print half of it, one minus the cosine.
    """
    n, q, d = views.shape
    unit = unit_rows(views.flatten(0, 1).double()).view(n, q, d)
    return 2 / (q - 1) * (unit - unit.mean(1, keepdim=True)).square().sum((1, 2)).mean()


def uniformity(x: Tensor, rows: int = ROWS) -> Tensor:
    """Return uniformity, how evenly features at length one are spread over the sphere.

        log E exp(-2 ||f(x) - f(y)||^2),  f at length one, over all pairs of two images

    In [-4n / (n - 1), 0]: 0 if all are alike, near -4 of an isotropic Gaussian of many dimensions
    (about -4 + 8 / d).

    Args:
        x: (n, d), n at least 2.
        rows: features at a time.

    Source: Wang and Isola 2020, arXiv:2005.10242, section 4.1, with t 2, and the authors' code
    (align_uniform). Codes that count an image beside itself print more, those without the log another
    number.
    """
    unit = unit_rows(x.float())
    squares = unit.square().sum(1)
    total = torch.zeros((), dtype=torch.float64, device=x.device)
    for start in range(0, len(unit), rows):
        part = slice(start, start + rows)
        distance = squares[part, None] + squares[start:] - 2 * unit[part] @ unit[start:].T
        total += distance.clamp_min(0).mul(-2).exp().triu(1).sum(dtype=torch.float64)
    return (2 * total / (len(unit) * (len(unit) - 1))).log()

"""Measure features by their covariance: alpha-ReQ, NESum, correlation and LiDAR, all in float64."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

RANK = 1e-12  # a direction with less of the largest variance is rounding: float32 features
RESOLVED = 1e-7  # a feature that varies by less of its mean is constant: float32 resolves no more
FEWEST = 10  # eigenvalues to fit a power law to, where there are as many; our choice
LIDAR_DELTA, LIDAR_EPS = 1e-4, 1e-8  # LiDAR: stable-pretraining, callbacks/lidar.py


def centre_columns(x: Tensor) -> Tensor:
    """Return features (n, d) less their mean, float64; 0 where float32 cannot tell it from constant."""
    mean = x.mean(0, dtype=torch.float64)
    z: Tensor = x - mean
    z *= torch.linalg.vector_norm(z, dim=0) > RESOLVED * math.sqrt(len(z)) * mean.abs()
    return z


def covariance(x: Tensor) -> Tensor:
    """Return the covariance (d, d), float64, of features (n, d), over n - 1."""
    z = centre_columns(x)
    return z.T @ z / (len(z) - 1)


def spectrum(of: Tensor) -> Tensor:
    """Return the positive eigenvalues of a covariance (d, d), the largest first; none of no variance."""
    values: Tensor = torch.linalg.eigvalsh(of).flip(0).clamp_min(0)
    return values[values > RANK * values[0]]


def fit_range(rank: int, first: int, last: int) -> tuple[int, int]:
    """Return which eigenvalues, counted from 1, a power law is fitted to.

    Those from `first` to `last` that there are; where they run out with fewer than ten, from 1.
    """
    if rank < last and rank - first + 1 < FEWEST:
        first = 1
    return first, min(last, rank)


def alpha_req(eigenvalues: Tensor, first: int = 11, last: int = 100) -> Tensor:
    """Return alpha-ReQ, the exponent of the eigenvalues' decay, lambda_i ~ i^-alpha.

        alpha = argmin over a of min over b of sum over i of (log lambda_i + a log i - b)^2 / i

    At least 0. Of an isotropic Gaussian 0, but for what sampling spreads; the faster the decay, the
    larger. Best is about 1, says the paper: it has no better direction. NaN for fewer than two
    eigenvalues, as of collapsed features.

    Args:
        eigenvalues: (rank,), of the centred covariance, positive, the largest first.
        first: where the fit begins, counted from 1; see `fit_range`.
        last: where it ends.

    Source: Agrawal et al. 2022, "alpha-ReQ", NeurIPS 2022; weights 1/i as in MouseLand
    stringer-pachitariu-et-al-2018b. Published codes fit other parts of one spectrum: reptrix 0.1.0
    i = 11 to 100 (the default here), fastssl 4 to 100. Compare only what was fitted alike.
    """
    first, last = fit_range(len(eigenvalues), first, last)
    if last <= first:
        return eigenvalues.new_tensor(math.nan)
    i = torch.arange(first, last + 1, dtype=eigenvalues.dtype, device=eigenvalues.device)
    weight = 1 / i
    x = -i.log()
    x = x - (weight * x).sum() / weight.sum()
    return (weight * x * eigenvalues[first - 1 : last].log()).sum() / (weight * x * x).sum()


def nesum(eigenvalues: Tensor) -> Tensor:
    """Return NESum, the sum of the eigenvalues over the largest.

        sum over i of lambda_i / lambda_1

    In [1, d]: d if all directions vary alike (of n rows of an isotropic Gaussian about
    d / (1 + sqrt(d / n))^2), 1 if all variance is in one, and 1, by our choice, without variance.

    Args:
        eigenvalues: as of `alpha_req`.

    Source: He and Ozay 2022, "Exploring the gap between collapsed and whitened features in
    self-supervised learning", ICML 2022; its text was not at hand, the formula is as others cite it.
    Of singular values, or of features that are not centred, it is another number.
    """
    return eigenvalues.sum() / eigenvalues[0] if len(eigenvalues) else eigenvalues.new_ones(())


def correlation(of: Tensor) -> Tensor:
    """Return the mean absolute correlation of two different features.

        mean over i != j of |C_ij| / sqrt(C_ii C_jj)

    In [0, 1]: 1 if all follow one, about sqrt(2 / (pi n)) of n rows of an isotropic Gaussian.
    Constant features have no correlation and are left out; NaN if fewer than two vary.

    Args:
        of: (d, d), the covariance C.

    Source: Bardes et al. 2022 (VICReg, arXiv:2105.04906), equation 9. VICReg's and Barlow Twins'
    losses sum squares over all pairs, VICReg's of covariances: other numbers, and not bounded.
    """
    varying = of.diagonal() > 0
    scale = of.diagonal()[varying].sqrt()
    count = len(scale)
    if count < 2:
        return of.new_tensor(math.nan)
    matrix = of[varying][:, varying].div_(scale).div_(scale[:, None])
    return matrix.fill_diagonal_(0).abs().sum() / (count * (count - 1))


def lidar(views: Tensor, delta: float = LIDAR_DELTA, eps: float = LIDAR_EPS) -> Tensor:
    """Return LiDAR, the effective rank of what tells images apart against how their views vary.

        S_b = sum over images i of (m_i - m)(m_i - m)^T / (n - 1),  m_i the mean of its views
        S_w = sum over views v, too, of (x_iv - m_i)(x_iv - m_i)^T / (n (q - 1)) + delta I
        lambda = the d eigenvalues of S_w^-1/2 S_b S_w^-1/2
        LiDAR = exp(-sum over k of p_k log p_k),  p_k = lambda_k / sum(lambda) + eps

    In [1, min(d, n - 1)], but for the eps. 1 if all images are alike or differ in one direction;
    near the upper end of an isotropic Gaussian. It changes with the scale of features, since delta
    does not.

    Args:
        views: (n, q, d), q views of each of n images, both at least 2.
        delta: added to the variance in each direction.
        eps: added to each share.

    Source: Thilak et al. 2023, arXiv:2312.04000, section 4; formula, delta and eps as in
    stable-pretraining, callbacks/lidar.py, the paper's text was not at hand. That code adds eps
    before it normalises, which gives d, the best there is, to features that have collapsed, and takes
    neighbours in a queue for views of one image. reptrix 0.1.0 divides S_b by nothing and S_w by n,
    has delta 1e-6 and eps 1e-7, and takes the principal components of the matrix' rows.
    """
    n, q, d = views.shape
    z = centre_columns(views.flatten(0, 1)).view(n, q, d)
    means = z.mean(1)  # m is 0
    within = (z - means[:, None]).flatten(0, 1)
    noise = within.T @ within / (n * (q - 1))
    noise.diagonal().add_(delta)
    factor = torch.linalg.cholesky(noise)  # of S_w: the eigenvalues are those with the square root
    whitened = torch.linalg.solve_triangular(factor, means.T, upper=False)  # (d, n)
    gram = whitened @ whitened.T if d <= n else whitened.T @ whitened
    values = torch.linalg.eigvalsh(gram / (n - 1)).clamp_min(0)
    p = values / values.sum().clamp_min(torch.finfo(values.dtype).tiny)
    p = F.pad(p, (0, d - len(p))) + eps
    return torch.exp(-(p * p.log()).sum())

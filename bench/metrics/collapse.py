"""Signs of collapse, read off a batch of embeddings."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

RANKME_EPS = 1e-7  # Garrido 2023, section 3


def embedding_std(z: Tensor) -> Tensor:
    """Return the standard deviation of the l2-normalised embeddings, averaged over dimensions.

    1 / sqrt(d) where they spread over the whole sphere, 0 where they have collapsed.

    Args:
        z: (n, d).

    Source: Chen and He 2021 (SimSiam, arXiv:2011.10566), section 4.1.
    """
    return F.normalize(z.float(), dim=1).std(dim=0).mean()


def rankme(z: Tensor) -> Tensor:
    """Return RankMe, the exponential of the entropy of the singular values, in [1, min(n, d)].

    Of the embeddings as they are, not centred, with p_k = s_k / sum(s) + 1e-7: the paper's
    definition. 1 of collapsed embeddings, a little below min(n, d) of an isotropic Gaussian.
    Under the same name stable-pretraining has eps 1e-5, and reptrix 0.1.0 takes eigenvalues of the
    centred covariance, which are squares. Other numbers: centring alone can make it three times as large.
    The singular values are roots of eigenvalues of the smaller product of z with itself: in float64
    that is more precise than a decomposition of z in float32, and for wide z several times faster.

    Args:
        z: (n, d).

    Source: Garrido et al. 2023, "RankMe", arXiv:2210.02885, equation 1.
    """
    rows = z.detach().cpu().double()
    product = rows @ rows.T if len(rows) < rows.shape[1] else rows.T @ rows
    singular = torch.linalg.eigvalsh(product).clamp(min=0).sqrt()
    p = singular / singular.sum().clamp(min=RANKME_EPS) + RANKME_EPS
    return torch.exp(-(p * p.log()).sum()).float()

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
    definition. Libraries that centre, or take eigenvalues of the covariance, print other numbers.

    Args:
        z: (n, d).

    Source: Garrido et al. 2023, "RankMe", arXiv:2210.02885, equation 1.
    """
    singular = torch.linalg.svdvals(z.float())
    p = singular / singular.sum().clamp(min=RANKME_EPS) + RANKME_EPS
    return torch.exp(-(p * p.log()).sum())

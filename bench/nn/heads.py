"""What stands on a backbone while it is trained: projectors, predictors, DINO's head."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.errors import BadValue

LAST_NORMS = ("none", "affine", "plain")


def projector(
    dim: int,
    hidden_dim: int,
    out_dim: int,
    *,
    layers: int = 2,
    bias: bool = True,
    norm: bool = True,
    last_bias: bool = True,
    last_norm: str = "none",
) -> nn.Sequential:
    """Return linear layers with batch norm and ReLU between them: maps (n, dim) to (n, out_dim).

    The modules stand in one flat sequence, and draw their weights in its order. What was published:

        SimCLR                  hidden dim,  128     bias=False, norm=False, last_bias=False
        SimCLR, its code        hidden dim,  128     layers=3, bias=False, last_bias=False, last_norm="affine"
        MoCo v2                 hidden dim,  128     norm=False
        BYOL, also predictor    hidden 4096, 256     last_bias=False
        SimSiam                 hidden 2048, 2048    layers=3, bias=False, last_bias=False, last_norm="plain"
        SimSiam, predictor      hidden 512,  2048    bias=False
        MoCo v3, ResNet         hidden 4096, 256     bias=False, last_bias=False, last_norm="plain"
        MoCo v3, its predictor  hidden 4096, 256     bias=False, last_bias=False
        Barlow Twins            hidden 8192, 8192    layers=3, bias=False, last_bias=False
        VICReg                  hidden 8192, 8192    layers=3, last_bias=False
        SwAV                    hidden 2048, 128
        NPID, PIRL              any,         128     layers=1

    Args:
        dim: of the features.
        hidden_dim: width between the layers; nothing where there is one layer.
        out_dim: of the embeddings.
        layers: linear layers, at least 1.
        bias: whether the layers before the last have one.
        norm: whether batch norm stands after the layers before the last.
        last_bias: whether the last layer has one.
        last_norm: batch norm after the last layer: none, affine (with a learned scale and shift) or
            plain (without: what the notes of these papers call BN0).

    Raises:
        BadValue: there are no layers, or there is no such `last_norm`.

    Source: SimCLR: Chen 2020, arXiv:2002.05709, section 2.1, and google-research/simclr model_util.py
    (whose last norm has a scale and no shift). MoCo v2: Chen 2020, arXiv:2003.04297, section 3. BYOL:
    google-deepmind/deepmind-research byol/utils/networks.py. SimSiam: facebookresearch/simsiam
    simsiam/builder.py (there the last bias is frozen, which the norm after it cancels anyhow). MoCo v3:
    facebookresearch/moco-v3 moco/builder.py. Barlow Twins: facebookresearch/barlowtwins main.py. VICReg:
    facebookresearch/vicreg main_vicreg.py. SwAV: facebookresearch/swav src/resnet50.py. NPID: Wu 2018,
    arXiv:1805.01978, section 3. PIRL: Misra 2020, arXiv:1912.01991, section 3.
    """
    _check_layers("projector", layers)
    if last_norm not in LAST_NORMS:
        raise BadValue(f"projector: no last_norm is named {last_norm!r}. Known: {', '.join(LAST_NORMS)}.")
    widths = [dim, *[hidden_dim] * (layers - 1)]
    parts: list[nn.Module] = []
    for here, there in pairwise(widths):
        parts.append(nn.Linear(here, there, bias=bias))
        if norm:
            parts.append(nn.BatchNorm1d(there))
        parts.append(nn.ReLU(inplace=True))
    parts.append(nn.Linear(widths[-1], out_dim, bias=last_bias))
    if last_norm != "none":
        parts.append(nn.BatchNorm1d(out_dim, affine=last_norm == "affine"))
    return nn.Sequential(*parts)


class UnitLinear(nn.Module):
    """A linear map whose output is g_k times the product with row k of its weight, made unit length.

    It is weight normalisation, written out: `weight` is the direction v that is trained, and the unit
    rows are made of it in every forward pass. So its state is plain parameters, and it is copied, saved,
    averaged by a momentum network and frozen as any layer is. torch's own (both the deprecated hook and
    the parametrization) keep v and g under other names, and the hook leaves a tensor that is in a graph
    on the module, which cannot be deep-copied after a forward pass.

    Args:
        dim: of the input.
        out_dim: of the output.
        scale: whether the lengths g, 1 at first, are trained; else they are 1 for good.

    Source: Salimans 2016, arXiv:1602.07868, equation 2.
    """

    def __init__(self, dim: int, out_dim: int, *, scale: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.Linear(dim, out_dim, bias=False).weight.detach())
        self.scale = nn.Parameter(torch.ones(out_dim, 1)) if scale else None

    def forward(self, z: Tensor) -> Tensor:
        """Return (..., out_dim) of z (..., dim)."""
        weight = F.normalize(self.weight, dim=1)
        return F.linear(z, weight if self.scale is None else self.scale * weight)


class DINOHead(nn.Module):
    """An MLP, its output made unit length, and a weight-normalised layer of `out_dim` prototypes.

    Linear layers with GELU between them down to the bottleneck, their weights drawn from a normal
    distribution of deviation 0.02 cut at 2, biases 0; the last layer's as those of any linear layer.
    With `norm_last_layer` the logits are cosines, in [-1, 1]. The authors keep the last layer still in
    the first epoch: that is the method's part, by clearing the gradient of `last.weight`.

    Args:
        dim: of the features.
        out_dim: prototypes; 65,536 in the paper.
        hidden_dim: width of the MLP.
        bottleneck_dim: width of what is made unit length.
        layers: of the MLP, at least 1, without the last layer.
        norm: whether batch norm stands before each GELU, as for a ResNet; not for a transformer.
        norm_last_layer: whether the last layer's rows have length 1 for good. The authors train the
            lengths on small transformers, where they do better, and not on larger ones, where the
            training may become unstable.

    Raises:
        BadValue: there are no layers.

    Source: Caron 2021 (DINO), arXiv:2104.14294, 3.1 and appendix C; facebookresearch/dino
    vision_transformer.py.
    """

    def __init__(
        self,
        dim: int,
        out_dim: int,
        *,
        hidden_dim: int = 2048,
        bottleneck_dim: int = 256,
        layers: int = 3,
        norm: bool = False,
        norm_last_layer: bool = True,
    ) -> None:
        super().__init__()
        _check_layers("DINO's head", layers)
        widths = [dim, *[hidden_dim] * (layers - 1), bottleneck_dim]
        parts: list[nn.Module] = []
        for here, there in pairwise(widths):
            if parts:
                parts += [nn.BatchNorm1d(here), nn.GELU()] if norm else [nn.GELU()]
            layer = nn.Linear(here, there)
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
            parts.append(layer)
        self.mlp = nn.Sequential(*parts)
        self.last = UnitLinear(bottleneck_dim, out_dim, scale=not norm_last_layer)

    def forward(self, h: Tensor) -> Tensor:
        """Return the logits (n, out_dim) of features (n, dim); without `norm` also (..., dim), of tokens."""
        logits: Tensor = self.last(F.normalize(self.mlp(h), dim=-1))
        return logits


def _check_layers(where: str, layers: int) -> None:
    """Raise a BadValue unless there is a layer."""
    if layers < 1:
        raise BadValue(f"{where}: layers is {layers}, but one is the least. Set layers to at least 1.")

"""A network that follows another one slowly, and is not trained itself."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from bench.errors import BadValue, suggest

BUFFERS = ("own", "averaged", "copied")


class MomentumEncoder(nn.Module):
    """A copy of a network that moves a little towards it at each update: w' <- m w' + (1 - m) w.

    The network that it follows is handed to each `update`, and never kept: so its parameters are not
    there twice, neither in `parameters()` nor in the state. The copy's parameters take no gradient, and
    its forward pass makes no graph.

    Parameters are always averaged. What is done with buffers, such as batch norm's running statistics:

        own        nothing: batch norm sees the copy's activations, and in `train()` makes statistics
                   of them. BYOL (google-deepmind/deepmind-research byol/byol_experiment.py), MoCo
                   (facebookresearch/moco moco/builder.py), MoCo v3 (facebookresearch/moco-v3
                   moco/builder.py), DINO (facebookresearch/dino main_dino.py).
        averaged   as parameters, and those that count are copied. With the copy in `eval()`: EMAN, Cai
                   2021, arXiv:2101.08482.
        copied     all of the network's: torch.optim.swa_utils.AveragedModel.

    Args:
        network: a backbone, or a sequence of backbone and projector; it is copied.
        buffers: own, averaged or copied.

    Raises:
        BadValue: there is no such choice of buffers.

    Source: He 2020 (MoCo), arXiv:1911.05722, equation 2; Grill 2020 (BYOL), arXiv:2006.07733, equation 1.
    """

    def __init__(self, network: nn.Module, *, buffers: str = "own") -> None:
        super().__init__()
        if buffers not in BUFFERS:
            near = suggest(buffers, BUFFERS)
            raise BadValue(f"momentum network: buffers is {buffers!r}, which is unknown.{near}")
        self.network = copy.deepcopy(network).requires_grad_(requires_grad=False)
        self.buffers_are = buffers

    @torch.no_grad()
    def forward(self, *inputs: Tensor) -> Tensor:
        """Return what the copy makes of the inputs, without a graph."""
        output: Tensor = self.network(*inputs)
        return output

    @torch.no_grad()
    def update(self, source: nn.Module, momentum: float) -> None:
        """Move towards `source`. After the optimiser's step (BYOL, DINO), or before the keys (MoCo).

        Args:
            source: what was copied; its parameters and buffers pair with the copy's by their order.
            momentum: m, in [0, 1]; at 1 nothing moves.

        Raises:
            ValueError: momentum is not in [0, 1], or the parameters or buffers are not alike.
        """
        if not 0 <= momentum <= 1:
            raise ValueError(f"momentum network: momentum is {momentum}. Give a number in [0, 1].")
        averaged = _pairs("parameters", self.network.parameters(), source.parameters())
        if self.buffers_are != "own":
            for mine, theirs in _pairs("buffers", self.network.buffers(), source.buffers()):
                if self.buffers_are == "averaged" and mine.is_floating_point():
                    averaged.append((mine, theirs))
                else:
                    mine.copy_(theirs)
        if averaged:
            torch._foreach_lerp_([w for w, _ in averaged], [w for _, w in averaged], 1 - momentum)

    def extra_repr(self) -> str:
        """Return what the parts do not show."""
        return f"buffers={self.buffers_are!r}"


def _pairs(what: str, mine: Iterable[Tensor], theirs: Iterable[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Return the tensors of both, by their order.

    Raises:
        ValueError: there are more of one, or two that pair have other shapes.
    """
    ours, others = list(mine), list(theirs)
    if [w.shape for w in ours] != [w.shape for w in others]:
        raise ValueError(
            f"momentum network: its {len(ours)} {what} and the {len(others)} of the network to follow "
            "differ in number or shape. Give the network that was copied."
        )
    return list(zip(ours, others, strict=True))

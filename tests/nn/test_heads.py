"""Heads are made of the layers that they say, in that order."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.errors import BadValue
from bench.nn.heads import DINOHead, UnitLinear, projector


def layers(head: nn.Sequential) -> list[str]:
    """Return what stands in a sequence, short."""

    def short(part: nn.Module) -> str:
        if isinstance(part, nn.Linear):
            return f"{part.in_features}-{part.out_features}" + ("+b" if part.bias is not None else "")
        if isinstance(part, nn.BatchNorm1d):
            return "BN" if part.affine else "BN0"
        return type(part).__name__

    return [short(part) for part in head]


def features(n: int = 8, dim: int = 6) -> Tensor:
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, ["6-9+b", "BN", "ReLU", "9-4+b"]),
        ({"layers": 1}, ["6-4+b"]),
        ({"norm": False}, ["6-9+b", "ReLU", "9-4+b"]),
        ({"last_bias": False}, ["6-9+b", "BN", "ReLU", "9-4"]),
        (
            {"layers": 3, "bias": False, "last_bias": False, "last_norm": "plain"},
            ["6-9", "BN", "ReLU", "9-9", "BN", "ReLU", "9-4", "BN0"],
        ),
        ({"bias": False, "last_norm": "affine"}, ["6-9", "BN", "ReLU", "9-4+b", "BN"]),
    ],
)
def test_a_projector_has_the_layers_that_its_arguments_say(
    arguments: dict[str, Any], expected: list[str]
) -> None:
    head = projector(6, 9, 4, **arguments)

    assert layers(head) == expected
    assert head(features()).shape == (8, 4)


def test_a_projector_draws_what_its_layers_written_out_draw() -> None:
    torch.manual_seed(0)
    written = nn.Sequential(nn.Linear(6, 9, bias=False), nn.BatchNorm1d(9), nn.ReLU(), nn.Linear(9, 4))
    torch.manual_seed(0)
    made = projector(6, 9, 4, bias=False)

    assert all(torch.equal(a, b) for a, b in zip(made.parameters(), written.parameters(), strict=True))
    assert list(made.state_dict()) == list(written.state_dict())


def test_a_plain_last_norm_gives_columns_of_mean_0_and_deviation_1() -> None:
    z = projector(6, 9, 4, last_norm="plain")(features(256))

    torch.testing.assert_close(z.mean(dim=0), torch.zeros(4), atol=1e-6, rtol=0)
    torch.testing.assert_close(z.var(dim=0, correction=0), torch.ones(4), atol=1e-3, rtol=0)


def test_what_is_no_projector_is_refused() -> None:
    with pytest.raises(BadValue, match="layers is 0"):
        projector(6, 9, 4, layers=0)
    with pytest.raises(BadValue, match=r"'bn'\. Known: none, affine, plain"):
        projector(6, 9, 4, last_norm="bn")
    with pytest.raises(BadValue, match="layers is 0"):
        DINOHead(6, 5, layers=0)


def test_dinos_head_is_its_formula() -> None:
    torch.manual_seed(0)
    head = DINOHead(3, 5, hidden_dim=4, bottleneck_dim=2).double()
    h = features(2, 3).double()

    def gelu(x: float) -> float:
        return x * (1 + math.erf(x / math.sqrt(2))) / 2

    def unit(x: list[float]) -> list[float]:
        return [value / math.hypot(*x) for value in x]

    linears = [part for part in head.mlp if isinstance(part, nn.Linear)]
    expected = []
    for x in h.tolist():
        for number, part in enumerate(linears):
            rows = zip(part.weight.tolist(), part.bias.tolist(), strict=True)
            x = [sum(w * v for w, v in zip(row, x, strict=True)) + b for row, b in rows]  # noqa: PLW2901
            x = [gelu(v) for v in x] if number < 2 else x  # noqa: PLW2901
        z = unit(x)
        directions = [unit(row) for row in head.last.weight.tolist()]
        expected.append([sum(w * v for w, v in zip(row, z, strict=True)) for row in directions])

    torch.testing.assert_close(head(h), torch.tensor(expected, dtype=torch.float64))


def test_dinos_logits_are_cosines_however_long_the_last_weights_are() -> None:
    head = DINOHead(6, 5, hidden_dim=16, bottleneck_dim=4)
    before = head(features())
    with torch.no_grad():
        head.last.weight.mul_(7)

    assert before.abs().max() <= 1 + 1e-6
    torch.testing.assert_close(head(features()), before)


def test_the_last_lengths_are_trained_only_if_asked_for() -> None:
    fixed, trained = DINOHead(6, 5), DINOHead(6, 5, norm_last_layer=False)

    assert "last.scale" not in fixed.state_dict()
    assert torch.equal(trained.last.scale, torch.ones(5, 1))
    trained(features()).square().sum().backward()
    assert trained.last.scale.grad.abs().sum() > 0


def test_a_unit_linear_map_is_torchs_weight_norm() -> None:
    mine = UnitLinear(4, 5, scale=True).double()
    theirs = nn.utils.parametrizations.weight_norm(nn.Linear(4, 5, bias=False).double())
    lengths = torch.linspace(0.5, 2, 5, dtype=torch.float64).unsqueeze(1)
    with torch.no_grad():
        mine.scale.copy_(lengths)
        theirs.parametrizations.weight.original0.copy_(lengths)
        theirs.parametrizations.weight.original1.copy_(mine.weight)
    z = features(8, 4).double()
    for head in (mine, theirs):
        head(z).pow(3).sum().backward()
    parts = theirs.parametrizations.weight

    torch.testing.assert_close(mine(z), theirs(z))
    torch.testing.assert_close(mine.weight.grad, parts.original1.grad)
    torch.testing.assert_close(mine.scale.grad, parts.original0.grad)


def test_dinos_head_is_copied_and_restored_after_a_step() -> None:
    head = DINOHead(6, 5, hidden_dim=16, bottleneck_dim=4, norm_last_layer=False)
    head(features()).sum().backward()
    copied = copy.deepcopy(head)
    restored = DINOHead(6, 5, hidden_dim=16, bottleneck_dim=4, norm_last_layer=False)
    restored.load_state_dict(head.state_dict())

    assert torch.equal(copied(features()), head(features()))
    assert torch.equal(restored(features()), head(features()))


def test_dinos_head_takes_tokens_too() -> None:
    head = DINOHead(6, 5, hidden_dim=16, bottleneck_dim=4)
    tokens = features(8).view(2, 4, 6)

    torch.testing.assert_close(head(tokens), head(features(8)).view(2, 4, 5))


def test_dinos_mlp_starts_small_and_has_batch_norm_if_asked_for() -> None:
    head = DINOHead(64, 5, hidden_dim=64, norm=True)

    assert layers(head.mlp) == ["64-64+b", "BN", "GELU", "64-64+b", "BN", "GELU", "64-256+b"]
    assert float(head.mlp[0].weight.detach().std()) == pytest.approx(0.02, rel=0.1)
    assert head.mlp[0].bias.abs().sum() == 0

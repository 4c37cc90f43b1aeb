"""The decoder is MAE's: tokens in their places, mask tokens elsewhere, blocks with the norm first."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.errors import BadValue
from bench.nn.masking import random_mask, visible
from bench.nn.positions import sincos_positions
from bench.nn.transformer import TokenDecoder


def decoder(depth: int = 2) -> TokenDecoder:
    torch.manual_seed(0)
    return TokenDecoder(dim=6, width=8, depth=depth, heads=2, out_dim=5, rows=3, columns=4).double()


def made(n: int = 3, ratio: float = 0.5) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    index = visible(random_mask(n, 12, ratio, generator))
    tokens = torch.randn(n, index.shape[1] + 1, 6, generator=generator).double()
    return tokens[:, 1:], index, tokens[:, :1]


def attention(block: nn.Module, x: Tensor) -> Tensor:
    """Return self-attention with two heads, written out."""
    q, k, v = F.linear(x, block.self_attn.in_proj_weight, block.self_attn.in_proj_bias).chunk(3, dim=-1)
    heads = []
    for part in (slice(0, 4), slice(4, 8)):
        weights = (q[..., part] @ k[..., part].transpose(1, 2) / 4**0.5).softmax(dim=-1)
        heads.append(weights @ v[..., part])
    return block.self_attn.out_proj(torch.cat(heads, dim=-1))


def test_the_decoder_is_the_formula_written_out() -> None:
    model, (tokens, index, prefix) = decoder(), made()
    x = model.mask_token.expand(3, 12, 8).clone()
    for image in range(3):
        for place, token in zip(index[image].tolist(), tokens[image], strict=True):
            x[image, place] = model.embed(token)
    x = torch.cat([model.embed(prefix), x + sincos_positions(3, 4, 8).double()], dim=1)

    def norm(layer: nn.Module, y: Tensor) -> Tensor:
        y = y - y.mean(dim=-1, keepdim=True)
        return y / (y.square().mean(dim=-1, keepdim=True) + 1e-6).sqrt() * layer.weight + layer.bias

    for block in model.blocks:
        x = x + attention(block, norm(block.norm1, x))
        x = x + block.linear2(F.gelu(block.linear1(norm(block.norm2, x))))
    expected = model.head(norm(model.norm, x))[:, 1:]

    torch.testing.assert_close(model(tokens, index, prefix), expected)


def test_every_patch_is_predicted_with_or_without_tokens_ahead() -> None:
    model, (tokens, index, prefix) = decoder(), made()

    assert model(tokens, index).shape == (3, 12, 5)
    assert model(tokens, index, prefix.expand(-1, 4, -1)).shape == (3, 12, 5)
    assert not torch.equal(model(tokens, index), model(tokens, index, prefix))


def test_the_order_of_the_tokens_says_nothing_their_index_all() -> None:
    model, (tokens, index, _) = decoder(), made()
    order = torch.randperm(index.shape[1], generator=torch.Generator().manual_seed(1))

    torch.testing.assert_close(model(tokens[:, order], index[:, order]), model(tokens, index))
    assert not torch.allclose(model(tokens, index[:, order]), model(tokens, index))


def test_all_weights_are_trained_and_the_positions_are_not() -> None:
    model, (tokens, index, prefix) = decoder(), made()
    model(tokens, index, prefix).square().sum().backward()

    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    assert "positions" in model.state_dict()
    assert "positions" not in dict(model.named_parameters())


def test_it_learns_what_is_where() -> None:
    model, (tokens, index, _) = decoder(depth=1), made()
    target = torch.randn(3, 12, 5, generator=torch.Generator().manual_seed(2)).double()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    losses = []
    for _ in range(120):
        loss = F.mse_loss(model(tokens, index), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))

    assert losses[-1] < 0.2 * losses[0]


def test_blocks_start_apart_with_biases_0() -> None:
    model = decoder()
    first, second = model.blocks

    assert not torch.equal(first.linear1.weight, second.linear1.weight)
    assert all(p.abs().sum() == 0 for name, p in model.named_parameters() if name.endswith("bias"))
    assert first.norm1.eps == first.norm2.eps == model.norm.eps == 1e-6


def test_it_predicts_the_same_in_evaluation_and_after_a_copy() -> None:
    model, given = decoder(), made()
    expected = model(*given)

    assert torch.equal(copy.deepcopy(model)(*given), expected)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(*given), expected)


@pytest.mark.parametrize(("width", "heads"), [(8, 3), (6, 2), (8, 0)])
def test_a_width_that_does_not_divide_is_refused(width: int, heads: int) -> None:
    with pytest.raises(BadValue, match=f"width of {width}"):
        TokenDecoder(dim=6, width=width, depth=1, heads=heads, out_dim=5, rows=3, columns=4)

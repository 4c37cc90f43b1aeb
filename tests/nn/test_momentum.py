"""A momentum network is an average of what it follows, and nothing else."""

from __future__ import annotations

import copy
import io
from collections.abc import Iterable

import pytest
import torch
from sines import exactly, figures, sine
from torch import Tensor, nn

from bench.errors import BadValue
from bench.nn.momentum import MomentumEncoder


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 5))


def images(n: int = 6) -> Tensor:
    return torch.randn(n, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def moved(source: nn.Module) -> nn.Module:
    """Train a network for a step, which moves its parameters and buffers."""
    source(images()).square().mean().backward()
    with torch.no_grad():
        for p in source.parameters():
            p.sub_(p.grad, alpha=0.1)
    return source


def same(mine: Iterable[Tensor], theirs: Iterable[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))


def test_three_updates_are_solo_learns() -> None:
    # vturrisi/solo-learn 9187ea39 solo/utils/momentum.py, tau0 0.9, 10 steps
    source = nn.Linear(3, 5, bias=False).double()
    source.weight.data = sine(0, 5, 3)
    encoder = MomentumEncoder(source)
    for step, tau in enumerate([0.9, 0.9024471741852423, 0.909549150281252]):
        source.weight.data = sine(step + 1, 5, 3)
        encoder.update(source, tau)

    assert figures(encoder.network.weight.data) == exactly(
        1.6901115708, 5.68965786758, 0.127903287549, -0.480373789107
    )


def test_an_update_is_the_plain_loop() -> None:
    source = network()
    encoder = MomentumEncoder(source)
    before = [w.clone() for w in encoder.network.parameters()]
    moved(source)
    encoder.update(source, 0.99)

    for mine, old, new in zip(encoder.network.parameters(), before, source.parameters(), strict=True):
        assert torch.equal(mine, old.lerp(new.detach(), 1 - 0.99))
        torch.testing.assert_close(mine, 0.99 * old + 0.01 * new)


def test_at_1_nothing_moves_and_at_0_it_is_the_source() -> None:
    source = network()
    encoder = MomentumEncoder(source)
    before = copy.deepcopy(encoder.network.state_dict())
    moved(source)

    encoder.update(source, 1.0)
    assert all(torch.equal(value, before[name]) for name, value in encoder.network.state_dict().items())
    encoder.update(source, 0.0)
    assert same(encoder.network.parameters(), source.parameters())


def test_buffers_are_its_own_averaged_or_copied() -> None:
    source = network()
    encoders = {name: MomentumEncoder(source, buffers=name) for name in ("own", "averaged", "copied")}
    mean, count = source[1].running_mean.clone(), source[1].num_batches_tracked.clone()
    moved(source)
    for encoder in encoders.values():
        encoder.update(source, 0.75)
    means = {name: encoder.network[1].running_mean for name, encoder in encoders.items()}
    counts = {name: int(encoder.network[1].num_batches_tracked) for name, encoder in encoders.items()}

    assert torch.equal(means["own"], mean)
    torch.testing.assert_close(means["averaged"], 0.75 * mean + 0.25 * source[1].running_mean)
    assert torch.equal(means["copied"], source[1].running_mean)
    assert counts == {"own": int(count), "averaged": int(count) + 1, "copied": int(count) + 1}


def test_its_own_batch_norm_sees_what_goes_through_it() -> None:
    encoder = MomentumEncoder(network())
    encoder.train()
    encoder(images())

    assert encoder.network[1].num_batches_tracked == 1
    encoder.eval()
    encoder(images())
    assert encoder.network[1].num_batches_tracked == 1


def test_it_takes_no_gradient_and_makes_no_graph() -> None:
    encoder = MomentumEncoder(network())

    assert not encoder(images().requires_grad_()).requires_grad
    assert not any(p.requires_grad for p in encoder.parameters())
    assert not any(p.requires_grad for p in encoder.train().parameters())


def test_the_source_is_in_neither_state_nor_parameters_twice() -> None:
    whole = nn.Module()
    whole.online = network()
    whole.momentum = MomentumEncoder(whole.online)
    whole.momentum.update(whole.online, 0.9)

    assert len(list(whole.parameters())) == 2 * len(list(whole.online.parameters()))
    assert len(whole.state_dict()) == 2 * len(whole.online.state_dict())
    assert all(p.requires_grad for p in whole.online.parameters())


def test_a_stopped_average_goes_on_bit_for_bit() -> None:
    source = network()
    encoder = MomentumEncoder(source)
    encoder.update(moved(source), 0.9)
    file = io.BytesIO()
    torch.save(encoder.state_dict(), file)
    file.seek(0)
    resumed = MomentumEncoder(network())
    resumed.load_state_dict(torch.load(file))
    copied = copy.deepcopy(encoder)
    for each in (encoder, resumed, copied):
        each.update(source, 0.9)

    for other in (resumed, copied):
        assert same(encoder.state_dict().values(), other.state_dict().values())


@pytest.mark.parametrize("only_one", [False, True])
def test_the_memory_format_changes_nothing(*, only_one: bool) -> None:
    source = network()
    encoder, other = MomentumEncoder(source), MomentumEncoder(source)
    other.to(memory_format=torch.channels_last)
    moved(source)
    encoder.update(source, 0.9)
    other.update(source if only_one else copy.deepcopy(source).to(memory_format=torch.channels_last), 0.9)

    assert same(encoder.parameters(), other.parameters())
    assert other.network[0].weight.is_contiguous(memory_format=torch.channels_last)


def test_what_does_not_pair_is_refused() -> None:
    encoder = MomentumEncoder(network(), buffers="copied")

    with pytest.raises(ValueError, match="its 6 parameters and the 2 of the network to follow differ"):
        encoder.update(nn.Linear(3, 5), 0.9)
    with pytest.raises(ValueError, match=r"momentum is 1\.5"):
        encoder.update(network(), 1.5)
    with pytest.raises(BadValue, match=r"'shared', which is unknown\. Known: averaged, copied, own"):
        MomentumEncoder(network(), buffers="shared")

"""A compiled network is trained as one that is not, and one that cannot be is trained all the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from bench.system.compile import compile_or_warn


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Compile anew, and leave torch as it was."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch._dynamo.reset()  # noqa: SLF001
    with torch._dynamo.config.patch(suppress_errors=False):  # noqa: SLF001
        yield
    torch._dynamo.reset()  # noqa: SLF001


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))


def gradients(net: nn.Module) -> list[torch.Tensor]:
    x = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    net(x).square().sum().backward()
    return [p.grad for p in net.parameters() if p.grad is not None]


@pytest.mark.long
def test_a_compiled_network_has_the_same_gradients_and_names() -> None:
    plain, compiled = network(), network()
    compile_or_warn(compiled)
    calls = torch._dynamo.utils.counters["stats"]["unique_graphs"]  # noqa: SLF001
    of_compiled = gradients(compiled)

    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > calls  # noqa: SLF001
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(of_compiled, gradients(plain), strict=True))
    assert list(compiled.state_dict()) == list(plain.state_dict())


def test_what_cannot_be_compiled_runs_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor import config

    monkeypatch.setattr(config.cpp, "cxx", ("no-such-compiler",))
    plain, compiled = network(), network()
    compile_or_warn(compiled)

    assert all(torch.equal(a, b) for a, b in zip(gradients(compiled), gradients(plain), strict=True))


def test_without_a_compiler_there_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("torch.compile is not supported\non this Python")

    monkeypatch.setattr(nn.Module, "compile", refuse)
    compile_or_warn(network())

    assert "the network runs as it is (torch.compile is not supported on this Python)" in caplog.text

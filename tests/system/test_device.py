"""The device at hand, with other hardware stood in for by what torch says of it."""

from __future__ import annotations

import pytest
import torch

from bench.contracts.dataset import Images
from bench.errors import BadValue
from bench.system.device import auto_precision, choose_device, describe_device, free_memory, to_device


def have(monkeypatch: pytest.MonkeyPatch, *, cuda: int = 0, mps: bool = False) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("cuda", "mps", "chosen"), [(0, False, "cpu"), (0, True, "mps"), (2, False, "cuda"), (1, True, "cuda")]
)
def test_auto_is_the_first_that_is_there(
    monkeypatch: pytest.MonkeyPatch, cuda: int, chosen: str, *, mps: bool
) -> None:
    have(monkeypatch, cuda=cuda, mps=mps)

    assert choose_device("auto") == torch.device(chosen)


@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:0", "cuda:1", "mps"])
def test_a_device_that_is_there_is_given(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    have(monkeypatch, cuda=2, mps=True)

    assert choose_device(name) == torch.device(name)


@pytest.mark.parametrize("name", ["cuda:2", "cuda:", "cuda:x", "cuda:-1", "gpu", "", "cpu:1", "CPU", "mps:3"])
def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    have(monkeypatch, cuda=2, mps=True)

    with pytest.raises(
        BadValue, match=rf"--device: {name} is not available here.*Use one of auto, cuda, mps, cpu."
    ):
        choose_device(name)


def test_the_error_names_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    have(monkeypatch)

    with pytest.raises(BadValue, match=r"cuda is not available here. Use one of auto, cpu."):
        choose_device("cuda")


@pytest.mark.parametrize(
    ("can", "precision"),
    [
        ({"avx512_bf16": True}, "bfloat16"),
        ({"amx_bf16": True, "avx512_bf16": False}, "bfloat16"),
        ({"avx2": True, "avx512_bf16": False}, "float32"),
        ({}, "float32"),
    ],
)
def test_a_processor_computes_in_bfloat16_where_it_can(
    monkeypatch: pytest.MonkeyPatch, can: dict[str, bool], precision: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: can, raising=False)

    assert auto_precision(torch.device("cpu")) == precision


def test_a_torch_that_cannot_tell_computes_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)

    assert auto_precision(torch.device("cpu")) == "float32"


@pytest.mark.parametrize(("can", "precision"), [(True, "bfloat16"), (False, "float32")])
def test_a_gpu_computes_in_bfloat16_where_it_does_so_itself(
    monkeypatch: pytest.MonkeyPatch, precision: str, *, can: bool
) -> None:
    arguments = []

    def supported(including_emulation: bool = True) -> bool:  # noqa: FBT001, FBT002  as torch has it
        arguments.append(including_emulation)
        return can

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)

    assert auto_precision(torch.device("cuda")) == precision
    assert arguments == [False]


def test_mps_computes_in_float32() -> None:
    assert auto_precision(torch.device("mps")) == "float32"


def test_a_processor_is_described_with_its_threads() -> None:
    message = describe_device(torch.device("cpu"))

    assert message.startswith("cpu (")
    assert f"{torch.get_num_threads()} thread" in message


def test_images_go_to_a_device_that_has_room_and_stay_where_they_are_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images, device = Images(torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.arange(4)), torch.device("meta")
    assert images.resident(device).pixels.device == device
    monkeypatch.setattr("bench.contracts.dataset.free_memory", lambda _device: 2 * 4 * 64)
    assert images.resident(device).labels.device == device
    monkeypatch.setattr("bench.contracts.dataset.free_memory", lambda _device: 2 * 4 * 64 - 1)

    assert images.resident(device) is images


def test_on_the_processor_nothing_is_copied() -> None:
    images = Images(torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.arange(4))

    assert images.resident(torch.device("cpu")).pixels.data_ptr() == images.pixels.data_ptr()
    assert to_device(images.pixels, torch.device("cpu")) is images.pixels
    assert free_memory(torch.device("cpu")) > 1 << 60

"""The device at hand, with other hardware stood in for by what torch says of it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from bench.contracts.dataset import Images
from bench.errors import BadValue
from bench.system.arithmetic import float32_as, refuse_precision
from bench.system.device import auto_precision, choose_device, describe_device, to_device
from bench.system.memory import free_memory


def have(monkeypatch: pytest.MonkeyPatch, *, cuda: int = 0, mps: bool = False) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


def have_gpus(monkeypatch: pytest.MonkeyPatch, majors: list[int]) -> None:
    """Have GPUs of these compute capabilities."""
    have(monkeypatch, cuda=len(majors))
    properties = [SimpleNamespace(major=major) for major in majors]
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties[device.index or 0])


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


@pytest.mark.parametrize(
    ("name", "majors", "precision"),
    [("cuda", [8], "bfloat16"), ("cuda", [7], "float32"), ("cuda:1", [7, 9], "bfloat16"),
     ("cuda:0", [7, 9], "float32"), ("cuda", [9, 7], "float32")],
)  # fmt: skip
def test_a_gpu_computes_in_bfloat16_where_that_one_can_and_any_where_all_can(
    monkeypatch: pytest.MonkeyPatch, name: str, majors: list[int], precision: str
) -> None:
    have_gpus(monkeypatch, majors)

    assert auto_precision(torch.device(name)) == precision


def test_tf32_is_refused_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    have_gpus(monkeypatch, [7, 8])
    refuse_precision("tf32", torch.device("cuda:1"))
    refuse_precision("float32", torch.device("cpu"))

    for name in ("cpu", "mps", "cuda:0", "cuda"):
        with pytest.raises(BadValue, match=f"train.precision: tf32 is of NVIDIA GPUs .* not of {name}"):
            refuse_precision("tf32", torch.device(name))


def test_float32_is_float32_and_tf32_is_tf32_while_a_block_runs() -> None:
    flags = torch.backends.cudnn, torch.backends.cuda.matmul
    before = [part.allow_tf32 for part in flags]
    for precision, expected in (("float32", False), ("tf32", True), ("bfloat16", False)):
        with float32_as(precision):
            assert [part.allow_tf32 for part in flags] == [expected, expected]
    assert [part.allow_tf32 for part in flags] == before


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

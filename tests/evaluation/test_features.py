"""A clean pass: every image, in order, as the backbone knows images, and nothing else changed.

And how it is written: as it goes, whole or not at all.
"""

from __future__ import annotations

import copy
import signal
import subprocess
import sys
import weakref
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from conftest import Lab
from torch import Tensor, nn

from bench.augmentation.clean import resize
from bench.contracts.dataset import Images
from bench.contracts.evaluator import Features
from bench.errors import CellError
from bench.evaluation import features
from bench.execution.assembly import build_backbone
from bench.storage.artifacts import ArtifactStore

CPU = torch.device("cpu")
RGB = {"mean": (0.1, 0.2, 0.3), "std": (0.5, 0.6, 0.7)}


def images(n: int, channels: int, side: int = 8) -> Images:
    draw = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (n, channels, side, side), dtype=torch.uint8, generator=draw)
    return Images(pixels, torch.arange(n) % 10)


def seen(found: Images, image_size: int, channels: int, **statistics: Any) -> Tensor:
    """Return what a backbone is shown, (n, channels, image_size, image_size)."""
    told = {"image_size": image_size, "channels": channels, "device": CPU, **statistics}
    x = torch.cat(list(features.extract(nn.Flatten(), found.pixels, **told)))
    return x.view(-1, channels, image_size, image_size)


def network() -> nn.Module:
    """Return a network that shows it if it is in training mode: by its norm and by its dropout."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Dropout(0.5), nn.Flatten(), nn.Linear(288, 5)
    )


def chunks(net: nn.Module, found: Images) -> Iterator[Tensor]:
    return features.extract(net, found.pixels, image_size=8, channels=3, device=CPU, **RGB)


def extracted(net: nn.Module, found: Images) -> Tensor:
    return torch.cat(list(chunks(net, found)))


class Small(nn.Module):
    """A device that holds so many images; it says how many it was shown."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most, self.shown = most, list[int]()

    def forward(self, x: Tensor) -> Tensor:
        self.shown.append(len(x))
        if len(x) > self.most:
            raise torch.OutOfMemoryError("no room")
        return x.flatten(1)


def test_images_are_normalised_with_the_statistics_that_were_given() -> None:
    given = images(4, 3)
    shown = seen(given, 8, 3, **RGB)
    wanted = (given.pixels.float() / 255 - torch.tensor(RGB["mean"]).view(1, 3, 1, 1)) / torch.tensor(
        RGB["std"]
    ).view(1, 3, 1, 1)

    assert torch.allclose(shown, wanted, atol=1e-6)


def test_images_are_resized_to_what_the_backbone_was_trained_at() -> None:
    given = images(4, 3, side=20)

    assert torch.allclose(seen(given, 8, 3, mean=(0.0,) * 3, std=(1.0,) * 3), resize(given.pixels, 8))


def test_grey_images_are_repeated_for_a_backbone_of_colours() -> None:
    given = images(4, 1)
    shown = seen(given, 8, 3, mean=(0.0,) * 3, std=(1.0,) * 3)

    assert torch.allclose(shown, given.pixels.expand(-1, 3, -1, -1) / 255)


def test_colours_are_turned_to_grey_for_a_backbone_of_grey_images() -> None:
    given = images(4, 3)
    red, green, blue = (given.pixels / 255).unbind(1)

    assert torch.allclose(
        seen(given, 8, 1, mean=(0.0,), std=(1.0,))[:, 0], 0.2989 * red + 0.587 * green + 0.114 * blue
    )


def test_chunks_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    net, given = network(), images(11, 3)
    whole = extracted(net, given)
    monkeypatch.setattr(features, "CPU_PIXELS", 3 * 8**2)
    parts = list(chunks(net, given))

    assert [len(part) for part in parts] == [3, 3, 3, 2]
    assert torch.allclose(whole, torch.cat(parts), atol=1e-6)


def test_an_image_that_is_larger_than_a_chunk_is_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "CPU_PIXELS", 1)

    assert len(extracted(network(), images(3, 3))) == 3


def test_the_order_is_that_of_the_images() -> None:
    net, given = network(), images(6, 3)
    turned = Images(given.pixels.flip(0), given.labels)

    assert torch.allclose(extracted(net, turned), extracted(net, given).flip(0), atol=1e-6)


@pytest.mark.parametrize("training", [True, False])
def test_the_backbone_is_frozen_and_left_as_it_was_found(training: bool) -> None:  # noqa: FBT001
    net = network().train(training)
    before = copy.deepcopy(net.state_dict())
    first, second = extracted(net, images(6, 3)), extracted(net, images(6, 3))

    assert torch.equal(first, second)
    assert net.training is training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_features_are_float32_on_the_cpu_and_need_no_gradient() -> None:
    found = extracted(network(), images(3, 3))

    assert (found.dtype, found.device, found.requires_grad) == (torch.float32, CPU, False)


def test_a_chunk_that_does_not_fit_is_halved_until_it_does() -> None:
    net, given = Small(3), images(11, 3)
    found = extracted(net, given)

    assert net.shown == [11, 5, 2, 2, 2, 2, 2, 1]
    assert torch.equal(found, extracted(Small(11), given))


def test_an_image_that_does_not_fit_is_an_error() -> None:
    net = Small(0).train()

    with pytest.raises(torch.OutOfMemoryError, match="no room"):
        extracted(net, images(4, 3))

    assert net.shown == [4, 2, 1]
    assert net.training


def test_features_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    x, y = torch.randn(3, 4).T, torch.tensor([2, 0, 1, 2])
    features.save(x.split(3), y, tmp_path)
    read = features.load(tmp_path)

    assert torch.equal(read.x, x)
    assert torch.equal(read.y, y)


@pytest.mark.parametrize("dim", [1, 5, 512])
def test_the_file_is_what_safetensors_would_write_but_that_features_start_as_torchs_memory_does(
    tmp_path: Path, dim: int
) -> None:
    x, y = torch.randn(7, dim), torch.arange(7)
    features.save(x.split(2), y, tmp_path)
    written, usual = (tmp_path / features.FILE).read_bytes(), safetensors.torch.save({"x": x, "y": y})
    head, usual_head = (file[8 : 8 + int.from_bytes(file[:8], "little")] for file in (written, usual))

    assert head.rstrip() == usual_head.rstrip()
    assert written[8 + len(head) :] == usual[8 + len(usual_head) :]
    assert (len(written) - x.nbytes) % features.ALIGNMENT == 0
    assert features.load(tmp_path).x.data_ptr() % features.ALIGNMENT == 0


def test_features_of_earlier_versions_are_moved_to_where_torch_would_have_them(tmp_path: Path) -> None:
    """Products of rows that start elsewhere are rounded otherwise: scores would be others."""
    x, y = torch.randn(9, 5), torch.arange(9)
    written = safetensors.torch.save({"x": x, "y": y})
    assert (len(written) - x.nbytes) % features.ALIGNMENT
    (tmp_path / features.FILE).write_bytes(written)
    read = features.load(tmp_path)

    assert read.x.data_ptr() % features.ALIGNMENT == 0
    assert read.x.equal(x)


def test_what_is_written_into_features_is_its_own_owners_alone(tmp_path: Path) -> None:
    x, y = torch.ones(8, 5), torch.arange(8)
    features.save([x], y, tmp_path)
    one, other = features.load(tmp_path), features.load(tmp_path)
    one.x.zero_()
    one.y.zero_()

    assert other.x.equal(x)
    assert other.y.equal(y)
    assert features.load(tmp_path).x.equal(x)


def test_features_are_written_as_they_come_and_let_go(tmp_path: Path) -> None:
    rows, held, written = 10_000, [], []

    def made() -> Iterator[Tensor]:
        for _ in range(5):
            written.append((tmp_path / features.FILE).stat().st_size)
            part = torch.zeros(rows, 8)
            held.append(weakref.ref(part))
            yield part
            del part

            assert sum(kept() is not None for kept in held) <= 1

    features.save(made(), torch.zeros(5 * rows, dtype=torch.int64), tmp_path)

    assert written[0] == 0
    assert all(later - earlier == 32 * rows for earlier, later in pairwise(written[1:]))


def test_what_an_error_leaves_is_removed(tmp_path: Path) -> None:
    rows = features.finite([torch.zeros(2, 3), torch.tensor([[0.0, float("nan"), 1.0]])], "they", "Wait.")

    with pytest.raises(CellError, match=r"^they are not finite\. Wait\."):
        features.save(rows, torch.zeros(3, dtype=torch.int64), tmp_path)

    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, signal, sys, torch
from pathlib import Path
from bench.evaluation import features
from bench.storage.artifacts import ArtifactStore

def rows():
    yield torch.zeros(5_000, 8)
    os.kill(os.getpid(), signal.SIGKILL)

with ArtifactStore(Path(sys.argv[1])).write("key") as folder:
    features.save(rows(), torch.zeros(10_000, dtype=torch.int64), folder)
"""


def test_a_pass_that_is_killed_leaves_no_artifact_and_is_made_again(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    cache = ArtifactStore(tmp_path)
    (left,) = (path.name for path in tmp_path.rglob("*") if path.is_file())
    there = cache.has("key"), cache.find("key")
    wanted = Features(torch.randn(9, 8), torch.arange(9))
    with cache.write("key") as folder:
        features.save(wanted.x.split(4), wanted.y, folder)
    found = features.load(cache.find("key") or tmp_path)

    assert killed.returncode == -signal.SIGKILL
    assert (left, *there) == (features.FILE, False, None)
    assert torch.equal(found.x, wanted.x)


@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit"])
def test_a_real_backbone_is_per_sample(lab: Lab, backbone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (cell,) = lab.plan(backbone=backbone)
    net, given = build_backbone(cell, lab.registry, 1), images(5, 1)
    told = {"image_size": 16, "channels": 1, "mean": (0.5,), "std": (0.5,), "device": CPU}
    (whole,) = features.extract(net, given.pixels, **told)
    monkeypatch.setattr(features, "CPU_PIXELS", 2 * 16**2)

    parts = list(features.extract(net, given.pixels, **told))

    assert len(parts) == 3
    assert torch.allclose(torch.cat(parts), whole, atol=1e-5)

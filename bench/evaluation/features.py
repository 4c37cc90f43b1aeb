"""A frozen backbone and a split: one clean pass, and the features of every image in order.

Images are read, and features written, a chunk at a time: what is in memory does not grow with a split.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from bench.augmentation.clean import match_channels, normalise, resize
from bench.contracts.evaluator import Features
from bench.contracts.feature_spec import FeatureSpec
from bench.errors import CellError
from bench.system.device import to_device
from bench.system.memory import give_back, is_out_of_memory
from bench.system.profiler import mark
from bench.system.ranks import ALONE, Ranks

# Of a chunk's images, at the backbone's resolution.
CPU_PIXELS = 1 << 18  # 256 of 32 px, 5 of 224 px: more do not fit the caches
CUDA_PIXELS = 1 << 22  # 4,096 of 32 px, 83 of 224 px: enough to keep a GPU busy; halved until they fit
OTHER_PIXELS = 1 << 20  # not every device says with an error of its own that its memory is full
FILE = "features.safetensors"
ALIGNMENT = 64  # bytes, as of torch's own memory: of features that start elsewhere products round otherwise


def extract(
    backbone: nn.Module,
    pixels: Tensor,
    *,
    image_size: int,
    channels: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    device: torch.device,
    spec: FeatureSpec | None = None,
    ranks: Ranks = ALONE,
) -> Iterator[Tensor]:
    """Yield the features of images in order, without augmentation: (rows, dim), float32, on the CPU.

    The backbone is in eval mode and is left as it was found: the statistics of its norms are used,
    not updated. Where memory does not hold a chunk, that chunk and those after it are halved.

    Args:
        backbone: on `device`; maps (n, channels, image_size, image_size) to (n, dim).
        pixels: (n, channels, h, w), uint8, on the CPU; may be in a mapped file.
        image_size: that the backbone was trained at.
        channels: that the backbone was trained on.
        mean: that images are normalised by, as in its training, a value a channel.
        std: as `mean`.
        device: where to compute.
        spec: which features; None is those that the backbone returns.
        ranks: that share the images; to the first all features are yielded, to others none.

    Raises:
        OutOfMemoryError: torch's; the device does not hold one image.
    """

    @torch.inference_mode()
    def forward(part: Tensor) -> Tensor:
        with mark("clean images"):
            x = resize(to_device(part, device), image_size)
            x = normalise(match_channels(x, channels), mean, std)
        with mark("forward"):
            h = backbone(x) if spec is None else spec.read(backbone, x)
        return h.float()

    chunk = chunk_images(image_size, device)
    training = backbone.training
    backbone.eval()
    try:
        if ranks.size == 1:
            yield from _forward_chunks(forward, pixels, chunk, device)
        else:
            yield from _share_chunks(forward, pixels, chunk, ranks)
    finally:
        backbone.train(training)


def chunk_images(image_size: int, device: torch.device) -> int:
    """Return how many images go through a backbone at a time."""
    most = {"cpu": CPU_PIXELS, "cuda": CUDA_PIXELS}.get(device.type, OTHER_PIXELS)
    return max(1, most // image_size**2)


def finite(rows: Iterable[Tensor], what: str, advice: str) -> Iterator[Tensor]:
    """Pass features on.

    Raises:
        CellError: some are not finite; `what` they are, and what to do about it.
    """
    for part in rows:
        if not torch.isfinite(part).all():
            raise CellError(f"{what} are not finite. {advice}")
        yield part


def save(rows: Iterable[Tensor], labels: Tensor, folder: Path) -> None:
    """Write features into an artifact's folder as they come; an error leaves no file.

    Args:
        rows: (some, dim) each, float32, on the CPU; together a row a label.
        labels: (n,), int64, on the CPU.
        folder: of the artifact. A file that a dead process left there is overwritten.
    """
    path = folder / FILE
    try:
        with path.open("wb") as file:
            for part in rows:
                with mark("write"):
                    if not file.tell():
                        file.write(_encode_header(len(labels), part.shape[1]))
                        file.write(labels.contiguous().numpy().data)
                    file.write(part.contiguous().numpy().data)
    except Exception:
        path.unlink()
        raise


def load(folder: Path) -> Features:
    """Return the features in an artifact's folder, of a file that is mapped into memory.

    Each call maps it anew, for one owner: what is written into them is seen by no other and not in the file.
    """
    tensors = load_file(folder / FILE)
    x = tensors["x"]
    aligned = x.data_ptr() % ALIGNMENT == 0  # files of earlier versions are not
    return Features(x if aligned else x.clone(), tensors["y"])


def _forward_chunks(
    forward: Callable[[Tensor], Tensor], pixels: Tensor, chunk: int, device: torch.device
) -> Iterator[Tensor]:
    """Yield what `forward` makes of chunks. Meanwhile a GPU works on the next: it waits for no disk."""
    done, part, previous = 0, _read(pixels[:chunk], device), None
    while len(part):
        output = _forward_if_it_fits(forward, part)
        if output is None:
            give_back(device)
            chunk = len(part) // 2
            part = part[:chunk]
            continue
        done += len(part)
        part = _read(pixels[done : done + chunk], device)
        if previous is not None:
            yield previous
        previous = output.cpu()
    if previous is not None:
        yield previous


def _share_chunks(
    forward: Callable[[Tensor], Tensor], pixels: Tensor, chunk: int, ranks: Ranks
) -> Iterator[Tensor]:
    """Yield what `forward` makes of chunks, of which ranks take turns, to the first; others send theirs.

    The chunks are those of one process: what is made of another number of images may round otherwise.
    """
    sent: Any = None
    dim = 0
    for number, part in enumerate(pixels.split(chunk)):
        maker = number % ranks.size
        if maker == ranks.rank:
            rows = torch.cat(list(_forward_chunks(forward, part, len(part), ranks.device)))
            dim = rows.shape[1]
            if ranks.rank:
                if sent is not None:
                    sent.wait()
                sent = ranks.send(rows)
        if ranks.rank == 0:
            yield rows if maker == 0 else ranks.receive((len(part), dim), maker)
    if sent is not None:
        sent.wait()


@mark("data")
def _read(pixels: Tensor, device: torch.device) -> Tensor:
    """Return images to send; for the CPU they are read when they are looked at."""
    return pixels.pin_memory() if device.type == "cuda" else pixels


def _forward_if_it_fits(forward: Callable[[Tensor], Tensor], part: Tensor) -> Tensor | None:
    """Return what `forward` makes of a chunk, or none: what it held by then is free on return."""
    try:
        return forward(part)
    except (RuntimeError, MemoryError) as error:
        if len(part) == 1 or not is_out_of_memory(error):
            raise
    return None


def _encode_header(count: int, dim: int) -> bytes:
    """Return how the file starts: as safetensors' own, labels before features, which start at `ALIGNMENT`."""
    labels = 8 * count
    tensors = {
        "y": {"dtype": "I64", "shape": [count], "data_offsets": [0, labels]},
        "x": {"dtype": "F32", "shape": [count, dim], "data_offsets": [labels, labels + 4 * count * dim]},
    }
    head = json.dumps(tensors, separators=(",", ":")).encode()
    head += b" " * (-(8 + len(head) + labels) % ALIGNMENT)
    return len(head).to_bytes(8, "little") + head

"""Check the images of one split of a dataset: what they are, and that the harness can take them."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.contracts.dataset import Dataset, FileStream, Images
from bench.contracts.dataset_info import DatasetInfo
from bench.pretraining.channel_statistics import measure_channels
from bench.pretraining.joined_splits import join_images
from bench.splits.label_pool import gather_rows
from bench.testing.checks import Check, require

AT_ONCE = 1_000  # images that are read
SEEN = 2_000  # images that a mean is measured on
FAR_MEAN, FAR_STD = 0.15, 2.0  # from the measured mean, in [0, 1]; times the measured deviation
LIKE_A_TENSOR = (
    "it needs dtype, device, ndim, shape, nbytes, len(), [slice], [rows], split(count) and to(device)"
)


def digest_images(images: Images) -> list[bytes]:
    """Return the digest of each image."""
    starts = range(0, len(images), AT_ONCE)
    blocks: Iterator[Any] = (images.pixels[start : start + AT_ONCE].numpy() for start in starts)
    return [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for block in blocks for image in block]


def image_checks(dataset: Dataset, split: str, images: Images, digests: list[bytes]) -> Iterator[Check]:
    """Yield the checks of what `load` returned."""
    info = dataset.info
    pixels: Any = images.pixels
    if not isinstance(pixels, Tensor):
        yield f"{split}: pixels can be taken as of a tensor", lambda: _like_a_tensor(images)
    yield f"{split}: pixels have info's channels and size", lambda: _shape(info, images)
    yield f"{split}: images differ, and are as bright as bytes are", lambda: _bright(images, digests)
    yield f"{split}: labels() are those of load()", lambda: _labels(dataset.labels(split), images)
    yield f"{split}: labels are places in info.classes", lambda: _range(info, split, images)
    if split == "train" and info.mean and info.std:
        yield "mean and std are those of its images, about", lambda: _statistics(info, images)
    if (stream := dataset.stream(split)) is not None:
        yield f"{split}: streams what it loads", lambda: _stream(stream, images, info)


def _shape(info: DatasetInfo, images: Images) -> None:
    shape, expected = tuple(images.pixels.shape[1:]), (info.channels, info.size, info.size)
    last = shape == (info.size, info.size, info.channels) and shape != expected
    require(not last, f"they are {shape}, channels last: use pixels.permute(0, 3, 1, 2)")
    require(shape == expected, f"they are {shape}, info says {expected}")


def _bright(images: Images, digests: list[bytes]) -> None:
    require(len(set(digests)) > 1 or len(digests) == 1, "all are the same: is one buffer used for all?")
    brightest = max(int(images.pixels[at : at + AT_ONCE].max()) for at in range(0, len(images), AT_ONCE))
    require(brightest > 1, f"no pixel is more than {brightest}: scale to 0 to 255 before they become uint8")


def _labels(given: Sequence[int], images: Images) -> None:
    labels = torch.as_tensor(given)
    require(images.labels.dtype == torch.int64, f"they are {images.labels.dtype}; use int64")
    require(len(labels) == len(images), f"{len(labels)} labels for {len(images)} images")
    require(not labels.is_floating_point(), f"labels() gives {labels.dtype}; use whole numbers")
    same = bool((labels == images.labels).all())
    moved = not same and torch.equal(labels.sort().values, images.labels.sort().values)
    require(not moved, "they differ in their order: list the images once, in an order that is sorted")
    require(same, "they differ")


def _range(info: DatasetInfo, split: str, images: Images) -> None:
    present, classes = set(images.labels.tolist()), info.classes
    require(bool(classes) or present == {-1}, "info has no classes: all labels have to be -1")
    wrong = sorted(present - set(range(-1, len(classes))))
    from_one = 0 not in present and len(classes) in present
    hint = "; count from 0" if from_one else ""
    require(not wrong, f"{wrong[:3]} of {len(classes)} classes{hint}")
    unknown = bool(classes) and -1 in present and split in ("val", "test")
    require(not unknown, "some are -1, but what is not labelled cannot be scored; leave these images out")
    missing = [classes[label] for label in range(len(classes)) if label not in present]
    require(split != "train" or not missing, f"no image of {', '.join(missing[:3])}")


def _statistics(info: DatasetInfo, images: Images) -> None:
    rows = torch.arange(0, len(images), -(-len(images) // SEEN))
    measured = measure_channels(images.take(rows))
    stated = (info.mean or (), info.std or ())
    centred = all(abs(a - b) <= FAR_MEAN for a, b in zip(stated[0], measured[0], strict=True))
    spread = all(1 / FAR_STD <= a / b <= FAR_STD for a, b in zip(stated[1], measured[1], strict=True))
    mean, std = ([round(value, 3) for value in values] for values in measured)
    require(
        centred and spread,
        f"info says {list(stated[0])} and {list(stated[1])}, the images have {mean} and {std}: "
        "are they of other data? None is measured",
    )


def _like_a_tensor(images: Images) -> None:
    """Do with the pixels what the harness does: slices, rows in any order, blocks, two splits as one."""
    pixels, n = images.pixels, len(images)
    kind = type(pixels).__name__
    rows = torch.tensor([n // 2, 0, n - 1, n // 2])
    try:
        expected = torch.cat([pixels[row : row + 1] for row in rows.tolist()])
        found = {
            "shape, dtype and ndim": (len(pixels), torch.uint8, 4)
            == (pixels.shape[0], pixels.dtype, pixels.ndim),
            "nbytes": pixels.nbytes == pixels.shape.numel(),
            "[rows]": torch.equal(images.take(rows).pixels, expected),
            "split": torch.equal(next(iter(pixels.split(2))), pixels[:2]),
            "to(device)": len(images.resident(torch.device("cpu"))) == n,
            "[rows] in ascending order": torch.equal(gather_rows([pixels], rows[1:3]), expected[1:3]),
            "[rows] of two splits": torch.equal(join_images([images, images]).pixels[rows + n], expected),
        }
    except (AttributeError, TypeError, NotImplementedError) as error:
        raise AssertionError(f"{kind}: {error}; {LIKE_A_TENSOR}") from None
    wrong = [name for name, right in found.items() if not right]
    require(not wrong, f"{kind}: {', '.join(wrong)} are not those of a tensor of these images")


def _stream(stream: FileStream, images: Images, info: DatasetInfo) -> None:
    require(len(stream) == len(images), f"{len(stream)} files for {len(images)} images")
    require(torch.equal(stream.labels, images.labels), "labels differ")
    stamps = stream.stamps
    require(stamps is None or len(stamps) == len(stream), "there is not a stamp a file")
    pickle.dumps(stream.read)  # it is called in other processes
    for place in sorted({0, len(stream) // 2, len(stream) - 1}):
        _file(stream, place, info)


def _file(stream: FileStream, place: int, info: DatasetInfo) -> None:
    """Require that a file can be decoded, at the size that it says, and is labelled as its folder."""
    sides: list[tuple[int, int]] = []

    def shrink(height: int, width: int) -> float:
        sides.append((height, width))
        return 1.0

    file, label = stream.files[place], int(stream.labels[place])
    path, image = Path(file), stream.read(file, shrink)
    require(not isinstance(image, str), f"{path.name} cannot be decoded: {image}")
    shape, expected = getattr(image, "shape", ()), [(*side, info.channels) for side in sides]
    require([shape] == expected, f"{path.name} is {shape}, not {expected}")
    require(getattr(image, "dtype", None) == np.uint8, f"{path.name} is not of uint8")
    folder = path.parent.name
    right = folder not in info.classes or label < 0 or info.classes[label] == folder
    require(right, f"{folder}/{path.name} has the label of {info.classes[label]}: are classes sorted?")

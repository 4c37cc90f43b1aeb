"""Train and val as one: the images, files and labels of each, in order, without a copy."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench.contracts.dataset import FileStream, Images
from bench.errors import BadData
from bench.pretraining.joined_splits import join_images, join_streams

DRAWN = torch.Generator().manual_seed(0)
PARTS = [
    Images(
        torch.randint(0, 256, (count, 3, 4, 4), dtype=torch.uint8, generator=DRAWN), torch.arange(count) + at
    )
    for count, at in ((5, 0), (3, 10))
]


def test_rows_of_joined_images_are_those_of_their_splits_in_any_order() -> None:
    joined, rows = join_images(PARTS), torch.tensor([7, 0, 4, 5, 0, 6])
    whole = torch.cat([part.pixels for part in PARTS])

    assert torch.equal(joined.pixels[rows], whole[rows])
    assert joined.labels.tolist() == [0, 1, 2, 3, 4, 10, 11, 12]
    assert (len(joined), joined.pixels.shape, joined.pixels.nbytes) == (8, (8, 3, 4, 4), whole.nbytes)


def test_joined_images_are_not_copied_where_they_are_and_are_one_tensor_elsewhere() -> None:
    joined = join_images(PARTS)

    assert joined.resident(torch.device("cpu")).pixels is joined.pixels
    assert joined.to(torch.device("meta")).pixels.shape == (8, 3, 4, 4)
    assert join_images(PARTS[:1]) is PARTS[0]


def stream(name: str, labels: list[int]) -> FileStream:
    files = [Path(f"{name}{number}") for number in range(len(labels))]
    return FileStream(
        files=files,
        labels=torch.tensor(labels),
        read=lambda _path, _side: "unread",
        refusal=lambda index, why: BadData(f"{files[index]}: {why}"),
    )


def test_joined_files_are_those_of_their_splits_and_so_is_what_is_said_of_a_damaged_one() -> None:
    joined = join_streams([stream("train", [0, 1, 2]), stream("val", [1, 0])])

    names = [str(joined.files[i]) for i in range(len(joined))]

    assert names == ["train0", "train1", "train2", "val0", "val1"]
    assert joined.labels.tolist() == [0, 1, 2, 1, 0]
    assert [str(joined.refusal(i, "damaged")) for i in (2, 3)] == ["train2: damaged", "val0: damaged"]


@pytest.mark.parametrize("index", [5, 6])
def test_a_file_that_is_not_there_is_an_error(index: int) -> None:
    joined = join_streams([stream("train", [0, 1, 2]), stream("val", [1, 0])])

    with pytest.raises(IndexError):
        joined.files[index]

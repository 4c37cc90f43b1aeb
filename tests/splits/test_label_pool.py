"""Rows of a pool that are there as they are, and those that have to be copied."""

from __future__ import annotations

import pytest
import torch

from bench.splits.label_pool import select_rows

PARTS = [torch.arange(10.0).view(5, 2), torch.arange(10.0, 18.0).view(4, 2)]
POOL = torch.cat(PARTS)


@pytest.mark.parametrize(
    ("rows", "part"),
    [
        ([0, 1, 2, 3, 4], 0),
        ([1, 2], 0),
        ([5, 6, 7, 8], 1),
        ([7, 8], 1),
        ([4, 5], None),
        ([0, 2], None),
        ([], None),
    ],
)
def test_rows_are_copied_only_where_they_are_in_no_part_one_after_the_other(
    rows: list[int], part: int | None
) -> None:
    index = torch.tensor(rows, dtype=torch.long)
    found = select_rows(PARTS, index)
    within = [one.untyped_storage().data_ptr() == found.untyped_storage().data_ptr() for one in PARTS]

    assert found.equal(POOL[index])
    assert within == [place == part for place in range(2)]

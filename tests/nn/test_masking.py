"""Masks hide as many patches as they say, where the authors' do."""

from __future__ import annotations

import math

import pytest
import torch
from sines import sine
from torch import Tensor

from bench.errors import BadValue
from bench.nn.masking import (
    block_mask,
    block_size,
    keep_smallest,
    multi_block_masks,
    patchify,
    random_mask,
    unpatchify,
    visible,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_mask_of_some_noise_is_maes() -> None:
    # facebookresearch/mae efb2a806 models_mae.py, random_masking with this noise
    mask = keep_smallest(sine(2, 2, 16), 0.75)

    assert mask.int().tolist() == [
        [1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1],
        [1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1, 1],
    ]


@pytest.mark.parametrize(
    ("patches", "ratio", "kept"),
    [(196, 0.75, 49), (196, 0.6, 78), (64, 0.75, 16), (64, 0.9, 6), (49, 0.75, 12), (100, 0.9, 9), (7, 0, 7)],
)
def test_each_image_keeps_as_many_patches_as_in_mae(patches: int, ratio: float, kept: int) -> None:
    # facebookresearch/mae efb2a806 models_mae.py
    mask = random_mask(5, patches, ratio, seeded())

    assert mask.dtype == torch.bool
    assert mask.logical_not().sum(dim=1).tolist() == [kept] * 5


def test_a_random_mask_hides_the_largest_of_what_the_generator_draws() -> None:
    noise = torch.rand(4, 9, generator=seeded()).tolist()
    expected = [[value not in sorted(row)[:4] for value in row] for row in noise]

    assert random_mask(4, 9, 0.5, seeded()).tolist() == expected


def test_every_patch_is_hidden_as_often() -> None:
    shares = random_mask(4000, 8, 0.75, seeded()).float().mean(dim=0)

    assert shares.sub(0.75).abs().max() < 0.03


@pytest.mark.parametrize("ratio", [1.0, 0.95, -0.1])
def test_a_ratio_that_leaves_nothing_is_refused(ratio: float) -> None:
    with pytest.raises(BadValue, match=r"mask: a ratio of .* of 8 patches"):
        random_mask(2, 8, ratio, seeded())


def test_visible_are_the_others_in_order() -> None:
    mask = torch.tensor([[True, False, True, False], [False, True, True, False]])

    assert visible(mask).tolist() == [[1, 3], [0, 3]]
    assert visible(mask).dtype == torch.int64


def test_visible_refuses_images_with_other_counts() -> None:
    with pytest.raises(ValueError, match=r"images have \[1, 2\] patches left"):
        visible(torch.tensor([[True, False], [False, False]]))


def corners(mask: list[list[bool]]) -> int:
    """Return how many right angles the border of a mask has, of which a block has four."""
    rows, columns = len(mask), len(mask[0])

    def at(r: int, c: int) -> bool:
        return 0 <= r < rows and 0 <= c < columns and mask[r][c]

    def turns(r: int, c: int) -> int:
        around = [at(r - 1, c - 1), at(r - 1, c), at(r, c - 1), at(r, c)]
        return {1: 1, 3: 1, 2: 2 * (around[0] == around[3])}.get(sum(around), 0)

    return sum(turns(r, c) for r in range(rows + 1) for c in range(columns + 1))


def plain_blocks(rows: int, columns: int, ratio: float, draws: list[list[float]]) -> list[bool]:
    """Return the mask of an image: BEiT's loop with iBOT's smallest block, four uniform numbers a try."""
    hidden: set[tuple[int, int]] = set()
    failed, smallest = 0, (min(rows, columns) // 3) ** 2
    for area, aspect, down, across in draws:
        missing = ratio * rows * columns - len(hidden)
        if missing <= 0 or failed == 10:
            break
        size = smallest + area * (missing - smallest)
        tall = math.exp(math.log(0.3) + aspect * (math.log(1 / 0.3) - math.log(0.3)))
        h, w = round(math.sqrt(size * tall)), round(math.sqrt(size / tall))
        top, left = math.floor(down * (rows - h + 1)), math.floor(across * (columns - w + 1))
        block = {(r, c) for r in range(top, top + h) for c in range(left, left + w)} - hidden
        fits = h < rows and w < columns and 0 < len(block) <= missing
        hidden |= block if fits else set()
        failed = 0 if fits else failed + 1
    return [(r, c) in hidden for r in range(rows) for c in range(columns)]


@pytest.mark.parametrize(
    ("rows", "columns", "ratio"), [(14, 14, 0.4), (8, 8, 0.3), (5, 9, 0.75), (3, 3, 0.9)]
)
def test_blocks_are_those_of_the_plain_loop(rows: int, columns: int, ratio: float) -> None:
    generator = seeded()
    rounds = [torch.rand(4, 20, generator=generator, dtype=torch.float64) for _ in range(300)]
    expected = [plain_blocks(rows, columns, ratio, [u[:, i].tolist() for u in rounds]) for i in range(20)]

    assert block_mask(20, rows, columns, ratio, seeded()).tolist() == expected


@pytest.mark.parametrize(("rows", "columns"), [(14, 14), (8, 8), (6, 10)])
def test_blocks_hide_at_most_the_share_and_nearly_that(rows: int, columns: int) -> None:
    mask = block_mask(200, rows, columns, 0.4, seeded())
    counts = mask.sum(dim=1)

    assert mask.shape == (200, rows * columns)
    assert counts.max() <= 0.4 * rows * columns
    assert counts.float().mean() > 0.36 * rows * columns


def test_blocks_are_blocks() -> None:
    few = block_mask(100, 14, 14, 0.4, seeded()).view(-1, 14, 14).tolist()
    scattered = random_mask(100, 196, 0.6, seeded()).view(-1, 14, 14).tolist()

    assert sum(map(corners, few)) < 0.3 * sum(map(corners, scattered))


def test_one_block_that_is_the_whole_share_has_its_size() -> None:
    mask = block_mask(50, 9, 9, 16 / 81, seeded(), smallest=16, aspect=(1.0, 1.0))

    assert mask.sum(dim=1).tolist() == [16] * 50
    assert all(corners(image) == 4 for image in mask.view(-1, 9, 9).tolist())
    assert len(mask.unique(dim=0)) > 20


def test_each_image_may_have_a_share_of_its_own() -> None:
    ratio = torch.tensor([0.0, 0.2, 0.5])
    counts = block_mask(3, 14, 14, ratio, seeded()).sum(dim=1)

    assert counts[0] == 0
    assert (counts <= ratio * 196).all()
    assert (counts[1:] > 0.8 * ratio[1:] * 196).all()


@pytest.mark.parametrize("ratio", [1.1, -0.1, torch.tensor([0.5, 1.5])])
def test_a_share_of_blocks_that_is_none_is_refused(ratio: float | Tensor) -> None:
    with pytest.raises(BadValue, match="block mask: ratio is"):
        block_mask(2, 8, 8, ratio, seeded())


@pytest.mark.parametrize(
    ("grid", "u", "size"),
    [
        ((14, 14), 0.0, (5, 6)),
        ((14, 14), 0.5, (6, 5)),
        ((14, 14), 0.999, (8, 5)),
        ((8, 8), 0.25, (3, 3)),
        ((8, 8), 0.9, (4, 3)),
        ((7, 7), 0.1, (2, 3)),
        ((7, 7), 0.999, (4, 2)),
        ((12, 8), 0.1, (3, 4)),
        ((16, 16), 0.75, (8, 6)),
    ],
)
def test_target_blocks_have_i_jepas_size(grid: tuple[int, int], u: float, size: tuple[int, int]) -> None:
    # facebookresearch/ijepa 52c1ae95 src/masks/multiblock.py, where one draw u is for scale and aspect
    assert block_size(*grid, scale=0.15 + 0.05 * u, aspect=0.75 + 0.75 * u) == size


def test_a_block_may_be_the_whole_grid() -> None:
    assert block_size(8, 8, scale=1.0, aspect=1.0) == (8, 8)
    assert block_size(4, 16, scale=1.0, aspect=1.0) == (4, 8)
    assert block_size(2, 2, scale=0.1, aspect=1.0) == (1, 1)


def is_block(patches: list[int], columns: int) -> bool:
    """Return whether patches are all of a rectangle, in raster order."""
    rows, across = sorted({p // columns for p in patches}), sorted({p % columns for p in patches})
    full = [r * columns + c for r in range(rows[0], rows[-1] + 1) for c in range(across[0], across[-1] + 1)]
    return patches == full


@pytest.mark.parametrize(("rows", "columns", "min_keep"), [(14, 14, 10), (8, 8, 4), (8, 12, 4)])
def test_targets_are_blocks_and_contexts_have_nothing_of_them(rows: int, columns: int, min_keep: int) -> None:
    for seed in range(5):
        context, targets = multi_block_masks(16, rows, columns, seeded(seed), min_keep=min_keep)

        assert context.shape[0] == 16
        assert context.shape[1] > min_keep
        assert targets.shape[:2] == (16, 4)
        assert 0.1 * rows * columns < targets.shape[2] < 0.25 * rows * columns
        for seen, blocks in zip(context.tolist(), targets.tolist(), strict=True):
            assert seen == sorted(set(seen))
            assert all(is_block(block, columns) for block in blocks)
            assert not set(seen) & {patch for block in blocks for patch in block}


def test_one_image_loses_nothing_of_its_context() -> None:
    context, targets = multi_block_masks(1, 8, 8, seeded(), min_keep=4, context_scale=(1.0, 1.0))

    assert set(context[0].tolist()) | set(targets.flatten().tolist()) == set(range(64))


def test_blocks_reach_every_patch() -> None:
    found = [multi_block_masks(64, 8, 8, seeded(seed), min_keep=4) for seed in range(20)]

    assert {patch for _, targets in found for patch in targets.flatten().tolist()} == set(range(64))


def test_a_context_without_room_overlaps_targets_rather_than_being_small() -> None:
    arguments = {"targets": 6, "target_scale": (0.6, 0.6), "target_aspect": (1.0, 1.0)}
    context, targets = multi_block_masks(8, 8, 8, seeded(), min_keep=30, **arguments)

    assert targets.shape == (8, 6, 36)
    assert context.shape[1] > 30


def test_a_context_that_can_never_be_large_enough_is_refused() -> None:
    with pytest.raises(BadValue, match=r"a context of \(3, 3\) patches, of 3 by 3, has not more"):
        multi_block_masks(2, 3, 3, seeded(), context_scale=(1.0, 1.0))


def test_masks_are_the_generators_and_leave_torchs_state_alone() -> None:
    def drawn(seed: int) -> list[Tensor]:
        g = seeded(seed)
        blocks = multi_block_masks(3, 8, 8, g, min_keep=4)
        return [random_mask(3, 64, 0.5, g), block_mask(3, 8, 8, 0.5, g), *blocks]

    before = torch.get_rng_state()

    assert all(torch.equal(a, b) for a, b in zip(drawn(0), drawn(0), strict=True))
    assert not torch.equal(drawn(0)[0], drawn(1)[0])
    assert torch.equal(torch.get_rng_state(), before)


def test_patches_are_in_maes_order() -> None:
    # facebookresearch/mae efb2a806 models_mae.py, patchify
    patches = patchify(torch.arange(48.0).view(1, 3, 4, 4), 2)

    assert patches.tolist() == [
        [
            [0, 16, 32, 1, 17, 33, 4, 20, 36, 5, 21, 37],
            [2, 18, 34, 3, 19, 35, 6, 22, 38, 7, 23, 39],
            [8, 24, 40, 9, 25, 41, 12, 28, 44, 13, 29, 45],
            [10, 26, 42, 11, 27, 43, 14, 30, 46, 15, 31, 47],
        ]
    ]


@pytest.mark.parametrize("channels", [1, 3])
def test_images_come_back_from_their_patches(channels: int) -> None:
    images = torch.randn(2, channels, 8, 12).to(memory_format=torch.channels_last)
    patches = patchify(images, 4)

    assert patches.shape == (2, 6, 16 * channels)
    assert torch.equal(unpatchify(patches, 4, rows=2, columns=3), images)


def test_images_that_are_not_made_of_patches_are_refused() -> None:
    with pytest.raises(ValueError, match="images of 8 by 10 are not made of patches of 4"):
        patchify(torch.zeros(1, 3, 8, 10), 4)

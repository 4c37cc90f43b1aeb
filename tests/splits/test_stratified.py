"""Stratified parts: seeded, nested, and complete in their classes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from bench.errors import BadData, BadValue, UnknownName, Unsupported
from bench.splits.selection import Selection, choose, chosen_classes
from bench.splits.stratified import (
    folds,
    index_digest,
    least_fraction,
    pick_examples,
    stratified_holdout,
    stratified_subset,
)

LABELS = np.random.Generator(np.random.PCG64(0)).integers(0, 7, 1_000)
NAMES = ("cat", "dog", "emu")


def counts(labels: np.ndarray) -> list[int]:
    return [int(count) for count in np.bincount(labels)]


def test_a_subset_has_the_same_share_of_every_class() -> None:
    subset = stratified_subset(LABELS, 0.1, seed=0)

    assert counts(LABELS[subset]) == [round(0.1 * n) for n in counts(LABELS)]
    assert subset.dtype == np.int64
    assert (np.diff(subset) > 0).all()


@pytest.mark.parametrize("count", [3, 7, 10, 21])
def test_examples_are_of_as_many_classes_as_possible_in_the_order_of_their_labels(count: int) -> None:
    examples = pick_examples(LABELS, count, seed=0, purpose="test")
    of_class = counts(LABELS[examples])

    assert len(set(examples.tolist())) == count
    assert (np.diff(LABELS[examples]) >= 0).all()
    assert sum(n > 0 for n in of_class) == min(count, 7)
    assert max(of_class) <= -(-count // 7)


def test_examples_of_images_without_labels_are_any_and_all_of_few() -> None:
    none = np.full(50, -1)
    some = np.array([-1, 2, -1, 0])

    assert len(set(pick_examples(none, 8, seed=0, purpose="test").tolist())) == 8
    assert pick_examples(some, 8, seed=0, purpose="test").tolist() == [3, 1]
    assert pick_examples(none, 80, seed=0, purpose="test").tolist() == list(range(50))


def test_a_small_subset_lies_inside_a_larger_one() -> None:
    parts = [set(stratified_subset(LABELS, f, seed=3).tolist()) for f in (0.005, 0.01, 0.1, 0.5, 1)]

    assert all(small < large for small, large in pairwise(parts))
    assert parts[-1] == set(range(1_000))


def test_a_fraction_that_leaves_a_class_without_an_image_is_refused_in_one_line() -> None:
    with pytest.raises(Unsupported) as every:
        stratified_subset(LABELS, 1e-6, seed=0, where="pets")
    with pytest.raises(Unsupported) as one:
        stratified_subset(np.repeat([0, 1], [100, 10]), 0.05, seed=0, names=NAMES)

    assert str(every.value) == (
        "pets: a label fraction of 1e-06 leaves 0, 1, 2 and 4 more without an image "
        "(the least class has 127). Use --shots, --keep-one, or at least 0.00394."
    )
    assert str(one.value) == (
        "labels: a label fraction of 0.05 leaves dog without an image "
        "(the least class has 10). Use --shots, --keep-one, or at least 0.0501."
    )


@pytest.mark.parametrize("count", [1, 2, 3, 5, 10, 50, 127, 140, 500, 5_000, 99_999, 1_000_000])
def test_the_fraction_that_is_suggested_is_enough_and_hardly_more(count: int) -> None:
    fraction = least_fraction(count)
    labels = np.zeros(count, dtype=np.int64)

    assert float(f"{fraction:g}") == fraction  # as an error prints it
    assert len(stratified_subset(labels, fraction, seed=0)) == 1
    with pytest.raises(Unsupported, match=f"or at least {fraction:g}"):
        stratified_subset(labels, 0.98 * fraction, seed=0)


def test_a_class_is_drawn_alike_whatever_the_other_classes_are() -> None:
    alone = np.where(LABELS == 2, 2, -1)
    subset = stratified_subset(LABELS, 0.1, seed=0)

    assert subset[LABELS[subset] == 2].tolist() == stratified_subset(alone, 0.1, seed=0).tolist()


def test_another_seed_draws_other_images() -> None:
    assert stratified_subset(LABELS, 0.1, seed=0).tolist() != stratified_subset(LABELS, 0.1, seed=1).tolist()


def test_another_seed_makes_other_folds_and_another_holdout_of_the_same_images() -> None:
    one, other = folds(LABELS, seed=0), folds(LABELS, seed=1)
    held = [stratified_holdout(LABELS, 0.1, seed)[1].tolist() for seed in (0, 1)]
    ((_, first),), ((_, second),) = (folds(np.arange(10_000) % 10, seed) for seed in (0, 1))

    assert all(a[1].tolist() != b[1].tolist() for a, b in zip(one, other, strict=True))
    assert held[0] != held[1]
    assert first.tolist() != second.tolist()


def test_the_folds_are_those_they_always_were() -> None:
    """A change here changes every choice of a hyper-parameter."""
    held = [index_digest(val) for _, val in folds(LABELS, seed=3)]
    ((_, val),) = folds(np.arange(10_000) % 10, seed=3)

    assert held == [
        "3fe0beda5dde103e06ea",
        "ba0cc92dacde33943ec6",
        "2e10cf2e683b052b6ff4",
        "eb4a1674c0a239fcf170",
        "eca541efd84337db6f28",
    ]
    assert index_digest(val) == "ffdf1e5c79b01fd26dbc"


def test_the_draw_is_the_one_it_always_was() -> None:
    subset = stratified_subset(np.repeat([0, 1], 10), 0.3, seed=0)

    assert subset.tolist() == [2, 4, 5, 11, 12, 13]  # a change here changes every result at a label fraction
    assert [index_digest(stratified_subset(LABELS, f, seed=3)) for f in (0.01, 0.1, 0.5, 1)] == [
        "717ece000c3d3b3d43e4",
        "e07138f95330df96668b",
        "409ef56ab947f833b349",
        "702746827e553786bb02",
    ]


def test_an_image_without_a_label_is_in_no_part() -> None:
    labels = np.where(np.arange(1_000) % 2, LABELS, -1)
    fit, val = stratified_holdout(labels, 0.1, seed=0)
    parts = [stratified_subset(labels, 1, seed=0), fit, val, *(i for pair in folds(labels, 0) for i in pair)]

    assert all((labels[part] >= 0).all() for part in parts)
    assert len(parts[0]) == 500


@pytest.mark.parametrize("fraction", [0, -0.1, 1.5, float("nan")])
def test_a_fraction_out_of_range_is_refused(fraction: float) -> None:
    with pytest.raises(BadValue, match="out of range"):
        stratified_subset(LABELS, fraction, seed=0)


def test_a_holdout_parts_each_class_and_leaves_nothing_out() -> None:
    fit, val = stratified_holdout(LABELS, 0.2, seed=0)

    assert sorted([*fit, *val]) == list(range(1_000))
    assert counts(LABELS[val]) == [round(0.2 * n) for n in counts(LABELS)]


@pytest.mark.parametrize(("images", "held"), [(1, 0), (2, 1), (3, 2), (4, 2)])
def test_a_holdout_takes_an_image_but_never_the_last(images: int, held: int) -> None:
    _, val = stratified_holdout(np.zeros(images, dtype=np.int64), 0.5, seed=0)

    assert len(val) == held


def test_ten_thousand_labels_give_one_holdout_of_a_tenth() -> None:
    ((fit, val),) = folds(np.arange(10_000) % 10, seed=0)

    assert (len(fit), len(val)) == (9_000, 1_000)


def test_fewer_labels_give_five_folds_of_one_size_that_share_no_val_image() -> None:
    pairs = folds(LABELS, seed=0)

    assert [len(val) for _, val in pairs] == [200] * 5
    assert sorted(i for _, val in pairs for i in val) == list(range(1_000))
    assert all(sorted([*fit, *val]) == list(range(1_000)) for fit, val in pairs)


def test_folds_of_many_small_classes_are_of_one_size() -> None:
    pairs = folds(np.repeat(np.arange(50), 5 - np.arange(50) % 3), seed=0)
    sizes = [len(val) for _, val in pairs]

    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("sizes", [(1, 2, 3, 4, 5), (5, 1, 1), (2, 2), (3, 1), (9, 2, 7, 4)])
def test_each_class_of_a_val_part_is_in_its_fit_part(sizes: tuple[int, ...]) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    pairs = folds(labels, seed=0)

    assert len(pairs) == min(5, max(sizes))
    assert all(len(val) and set(labels[val]) <= set(labels[fit]) for fit, val in pairs)
    assert all(np.isin(np.flatnonzero(labels == c), fit).all() for c in singles(sizes) for fit, _ in pairs)


def singles(sizes: tuple[int, ...]) -> list[int]:
    return [c for c, size in enumerate(sizes) if size == 1]


@pytest.mark.parametrize("count", [0, 1, 3, 10_000])
def test_there_are_no_folds_if_no_class_has_two_images(count: int) -> None:
    assert folds(np.arange(count), seed=0) == ()


def test_an_index_digest_tells_indices_apart_and_not_their_width() -> None:
    index = np.array([1, 2, 3])

    assert index_digest(index) == index_digest(index.astype(np.int32))
    assert index_digest(index) != index_digest(index + 1)


def test_classes_are_chosen_in_the_order_that_was_given() -> None:
    labels = np.array([0, 1, 2, 1, 0])
    index, chosen = choose(labels, NAMES, Selection(classes=("emu", "cat")), "pets", "test")

    assert index.tolist() == [0, 2, 4]
    assert chosen.tolist() == [1, 0, 1]


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_that_is_of_no_class_is_refused(label: int) -> None:
    message = rf"^pets: a test label is {label}, but there are 3 classes\. Use labels from 0 to 2\.$"

    with pytest.raises(BadData, match=message):
        choose(np.array([0, 1, 2, label]), NAMES, Selection(), "pets", "test")


def test_max_train_is_exact_stratified_and_of_the_training_split_only() -> None:
    labels = np.repeat([0, 1, 2], [700, 299, 1])
    selection = Selection(max_train=100)
    index, chosen = choose(labels, NAMES, selection, "pets", "train")

    assert counts(chosen) == [69, 30, 1]
    assert labels[index].tolist() == chosen.tolist()
    assert len(choose(labels, NAMES, selection, "pets", "test")[0]) == 1_000


def test_a_small_max_train_lies_inside_a_larger_one() -> None:
    parts = [
        set(choose(LABELS, "abcdefg", Selection(max_train=n), "pets", "train")[0].tolist())
        for n in (7, 50, 999, 5_000)
    ]

    assert [len(part) for part in parts] == [7, 50, 999, 1_000]
    assert all(small < large for small, large in pairwise(parts))


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (Selection(classes=("cat",)), "pets.classes: there is one class, 'cat'"),
        (Selection(classes=("cat", "dog", "cat")), "pets.classes: 'cat' is there twice"),
        (Selection(max_train=2), "pets.max_train: 2 images cannot show 3 classes. Set it to at least 3"),
    ],
)
def test_a_selection_that_cannot_work_is_refused(selection: Selection, message: str) -> None:
    with pytest.raises(BadValue, match=message):
        chosen_classes(NAMES, selection, "pets")


def test_an_unknown_class_gets_a_suggestion() -> None:
    with pytest.raises(UnknownName, match=r"pets: no class is named 'dgo'\. Did you mean 'dog'"):
        chosen_classes(NAMES, Selection(classes=("cat", "dgo")), "pets")

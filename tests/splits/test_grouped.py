"""Draws of whole groups: none is parted, and classes are shared out as well as groups allow."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from sklearn.model_selection import StratifiedGroupKFold

from bench.errors import BadValue, Unsupported
from bench.splits.grouped import number_groups
from bench.splits.selection import Selection, choose
from bench.splits.stratified import folds, index_digest, stratified_holdout, stratified_subset

Drawn = tuple[np.ndarray, np.ndarray]


def tracks(classes: int = 7, each: int = 20, seed: int = 0) -> Drawn:
    """Return labels and groups of one class each, of 5 to 30 images, in mixed order."""
    random = np.random.Generator(np.random.PCG64(seed))
    sizes = random.integers(5, 31, classes * each)
    groups = np.repeat(np.arange(classes * each), sizes)
    mixed = np.argsort(random.random(len(groups)), kind="stable")
    return (groups // each)[mixed], groups[mixed]


def patients(seed: int = 0, count: int = 80, classes: int = 4) -> Drawn:
    """Return labels and groups of several classes, the last class rare."""
    random = np.random.Generator(np.random.PCG64(seed))
    groups = np.repeat(np.arange(count), random.integers(4, 25, count))
    draws = random.random(len(groups)) + 0.3 * (random.random(count) - 0.5)[groups]
    return np.searchsorted([0.45, 0.75, 0.93][: classes - 1], draws), groups


KINDS = {"tracks": tracks, "patients": patients}
PINNED = [
    "de6befef1ee0e19cda47",
    "6795b2aefc105aabad84",
    "eeb788475922a1f26e0d",
]  # a change here changes every result of grouped data


def is_whole(rows: np.ndarray, groups: np.ndarray) -> bool:
    """Tell whether rows are all those of the groups that they are in."""
    return set(rows.tolist()) == set(np.flatnonzero(np.isin(groups, groups[rows])).tolist())


def shares(rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the share of each class that is among rows."""
    return np.bincount(labels[rows], minlength=labels.max() + 1) / np.bincount(labels)


@pytest.mark.parametrize("kind", KINDS)
def test_every_draw_takes_whole_groups(kind: str) -> None:
    labels, groups = KINDS[kind]()
    fit, held = stratified_holdout(labels, 0.2, 0, groups)
    parts = [stratified_subset(labels, 0.3, 0, groups=groups), fit, held]
    parts += [part for pair in folds(labels, 0, groups) for part in pair]
    parts.append(choose(labels, "abcdefg", Selection(max_train=300), "pets", "train", groups)[0])

    assert all(len(part) and is_whole(part, groups) for part in parts)


@pytest.mark.parametrize("kind", KINDS)
def test_a_smaller_fraction_lies_inside_a_larger_one(kind: str) -> None:
    labels, groups = KINDS[kind]()
    parts = [
        set(stratified_subset(labels, f, 3, groups=groups).tolist()) for f in (0.15, 0.2, 0.31, 0.5, 0.8, 1)
    ]

    assert all(small < large for small, large in pairwise(parts))
    assert parts[-1] == set(range(len(labels)))


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5, 0.9])
def test_each_class_has_its_share_but_for_half_a_group(fraction: float) -> None:
    labels, groups = tracks()
    rows = stratified_subset(labels, fraction, 1, groups=groups)
    off = np.abs(np.bincount(labels[rows]) - fraction * np.bincount(labels))

    assert (off <= 15).all()


def test_groups_of_several_classes_keep_the_share_of_each_nearly() -> None:
    for seed in range(5):
        labels, groups = patients(seed)
        rows = stratified_subset(labels, 0.5, seed, groups=groups)

        assert np.abs(shares(rows, labels) - 0.5).max() < 0.2
        assert abs(len(rows) / len(labels) - 0.5) < 0.05


def test_a_class_is_drawn_alike_whatever_the_other_classes_are() -> None:
    labels, groups = tracks()
    rows = stratified_subset(labels, 0.3, 0, groups=groups)
    alone = stratified_subset(np.where(labels == 2, 2, -1), 0.3, 0, groups=groups)

    assert rows[labels[rows] == 2].tolist() == alone.tolist()


def test_groups_of_one_image_are_drawn_as_images_are() -> None:
    labels = np.random.Generator(np.random.PCG64(0)).integers(0, 7, 1_000)
    single = np.arange(1_000)[::-1]

    for fraction in (0.0303, 0.1003, 0.7731):
        expected = stratified_subset(labels, fraction, 5)
        assert stratified_subset(labels, fraction, 5, groups=single).tolist() == expected.tolist()
    for one, other in zip(
        stratified_holdout(labels, 0.1331, 5), stratified_holdout(labels, 0.1331, 5, single), strict=True
    ):
        assert one.tolist() == other.tolist()
    assert [len(val) for _, val in folds(labels, 5, single)] == [200] * 5


@pytest.mark.parametrize("kind", KINDS)
def test_another_seed_draws_other_groups_for_every_purpose(kind: str) -> None:
    labels, groups = KINDS[kind]()

    def draws(seed: int) -> list[list[int]]:
        _, held = stratified_holdout(labels, 0.2, seed, groups)
        subset = stratified_subset(labels, 0.5, seed, groups=groups)
        return [subset.tolist(), held.tolist(), *(val.tolist() for _, val in folds(labels, seed, groups))]

    assert draws(0) == draws(0)
    assert all(one != other for one, other in zip(draws(0), draws(1), strict=True))


def test_what_groups_are_called_does_not_count() -> None:
    labels, groups = tracks()
    renamed = 1_000_000 - 7 * groups

    assert number_groups(groups).tolist() == number_groups(renamed).tolist()
    assert number_groups(np.array([5, 2, 5, 9])).tolist() == [0, 1, 0, 2]
    for one, other in zip(folds(labels, 0, groups), folds(labels, 0, renamed), strict=True):
        assert one[1].tolist() == other[1].tolist()


def test_the_draws_of_groups_are_those_they_always_were() -> None:
    labels, groups = patients()
    _, held = stratified_holdout(labels, 0.2, 0, groups)
    parts = [stratified_subset(labels, 0.3, 0, groups=groups), held, folds(labels, 0, groups)[0][1]]

    assert [index_digest(part) for part in parts] == PINNED


@pytest.mark.parametrize("kind", KINDS)
def test_folds_share_no_group_and_have_each_class_to_fit_on(kind: str) -> None:
    labels, groups = KINDS[kind]()
    pairs = folds(labels, 0, groups)
    val = np.concatenate([val for _, val in pairs])

    assert len(pairs) == 5
    assert sorted(val.tolist()) == list(range(len(labels)))
    for fit, held in pairs:
        assert not set(groups[fit].tolist()) & set(groups[held].tolist())
        assert sorted([*fit, *held]) == list(range(len(labels)))
        assert set(labels[held]) <= set(labels[fit])


@pytest.mark.parametrize("kind", KINDS)
def test_folds_are_about_as_balanced_as_those_of_scikit_learn(kind: str) -> None:
    for seed in range(4):
        labels, groups = KINDS[kind](seed=seed)
        theirs = StratifiedGroupKFold(5, shuffle=True, random_state=seed).split(labels, labels, groups)

        def imbalance(vals: list[np.ndarray], labels: np.ndarray = labels) -> float:
            return float(np.stack([shares(val, labels) for val in vals]).std(0).mean())

        ours = imbalance([val for _, val in folds(labels, seed, groups)])
        assert ours < 1.5 * imbalance([val for _, val in theirs]) + 0.01


def test_ten_thousand_labels_give_one_holdout_of_about_a_tenth() -> None:
    labels, groups = tracks(each=100)
    ((fit, held),) = folds(labels, 0, groups)

    assert len(labels) > 10_000
    assert np.abs(shares(held, labels) - 0.1).max() < 0.01
    assert not set(groups[fit].tolist()) & set(groups[held].tolist())


def test_a_holdout_has_a_group_of_each_class_on_both_sides_where_there_are_two() -> None:
    labels = np.repeat([0, 0, 1, 1, 1, 2], [50, 1, 10, 10, 10, 5])
    groups = np.repeat([0, 1, 2, 3, 4, 5], [50, 1, 10, 10, 10, 5])
    fit, held = stratified_holdout(labels, 0.1, 0, groups)

    assert set(labels[fit].tolist()) == {0, 1, 2}
    assert set(labels[held].tolist()) == {0, 1}
    assert set(groups[held].tolist()) > {1}  # not the group that is nearly all of class 0


def test_a_holdout_of_groups_of_several_classes_keeps_every_class_to_fit_on() -> None:
    for seed in range(20):
        labels, groups = patients(seed, count=6)
        fit, held = stratified_holdout(labels, 0.2, seed, groups)

        assert set(labels[fit].tolist()) == set(labels.tolist())
        for label in set(labels.tolist()):
            if len(set(groups[labels == label].tolist())) > 2:
                assert label in labels[held]


def test_a_class_that_is_only_in_groups_of_rarer_ones_is_held_out_too() -> None:
    """Classes 1, 2 and 3 are rarer than 0 and take all of its groups with them."""
    groups = np.repeat(np.arange(6), 10)
    labels = np.where(np.arange(60) % 10 < 8, 0, 1 + groups // 2)
    _, held = stratified_holdout(labels, 0.2, 0, groups)

    assert set(labels[held].tolist()) == {0, 1, 2, 3}


def test_a_class_of_one_group_is_never_held_out_of_a_fold() -> None:
    labels, groups = np.repeat([0, 1, 1, 1, 1], 6), np.repeat([0, 1, 2, 3, 4], 6)
    pairs = folds(labels, 0, groups)

    assert len(pairs) == 4
    assert all((labels[held] == 1).all() for _, held in pairs)


def test_two_groups_that_share_two_classes_make_no_fold_without_one_of_them() -> None:
    labels, groups = np.array([0, 1, 0, 1, 0, 0]), np.array([0, 0, 1, 1, 2, 2])
    for seed in range(10):
        for fit, held in folds(labels, seed, groups):
            assert set(labels[held]) <= set(labels[fit])


@pytest.mark.parametrize("labels", [[], [-1, -1], [0, 0, 1, 1]])
def test_there_are_no_folds_if_no_class_has_two_groups(labels: list[int]) -> None:
    assert folds(np.array(labels, dtype=np.int64), 0, np.array([0, 0, 1, 1][: len(labels)])) == ()


def test_an_image_without_a_label_is_in_no_part_and_leaves_its_group() -> None:
    labels, groups = tracks()
    labels = np.where(np.arange(len(labels)) % 2, labels, -1)
    fit, held = stratified_holdout(labels, 0.2, 0, groups)
    subset = stratified_subset(labels, 0.4, 0, groups=groups)

    assert all((labels[part] >= 0).all() for part in (fit, held, subset))
    assert len(fit) + len(held) == (labels >= 0).sum()


def test_a_fraction_of_less_than_half_a_group_is_refused_with_one_that_works() -> None:
    labels, groups = tracks()
    with pytest.raises(
        Unsupported, match=r"^pets: a label fraction of 0\.001 leaves a, b, c and 4 more"
    ) as e:
        stratified_subset(labels, 0.001, 0, "pets", "abcdefg", groups)
    least = float(str(e.value).rpartition(" ")[2].rstrip("."))

    assert "groups of images stay whole" in str(e.value)
    assert set(labels[stratified_subset(labels, least, 0, groups=groups)].tolist()) == set(range(7))
    with pytest.raises(Unsupported, match=f"or at least {least:g}"):
        stratified_subset(labels, 0.98 * least, 0, groups=groups)


def test_half_a_group_is_enough_for_a_group() -> None:
    """A tenth of five tracks, as the smallest classes of GTSRB have."""
    groups = np.repeat(np.arange(10), 30)
    rows = stratified_subset(groups // 5, 0.1, 0, groups=groups)

    assert np.bincount((groups // 5)[rows]).tolist() == [30, 30]


def test_max_train_is_whole_groups_nested_and_at_most_what_is_asked_for() -> None:
    labels, groups = tracks()
    counts = (250, 300, 700, 5_000)
    parts = [
        choose(labels, "abcdefg", Selection(max_train=count), "pets", "train", groups)[0] for count in counts
    ]

    assert all(len(part) <= count for part, count in zip(parts, counts, strict=True))
    assert all(set(small.tolist()) < set(large.tolist()) for small, large in pairwise(parts))
    assert all(set(labels[part].tolist()) == set(range(7)) for part in parts)
    assert np.abs(shares(parts[2], labels) - 700 / len(labels)).max() < 0.1


def test_a_max_train_without_room_for_a_group_of_each_class_is_refused_with_one_that_has() -> None:
    labels, groups = tracks()
    with pytest.raises(BadValue, match=r"^pets\.max_train: 20 images hold no group of every class") as caught:
        choose(labels, "abcdefg", Selection(max_train=20), "pets", "train", groups)
    least = int(str(caught.value).rpartition(" ")[2].rstrip("."))
    index, _ = choose(labels, "abcdefg", Selection(max_train=least), "pets", "train", groups)

    assert len(index) == least
    assert set(labels[index].tolist()) == set(range(7))

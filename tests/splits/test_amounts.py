"""So many labelled images of each class: nested shots, and fractions that keep one of each class."""

from __future__ import annotations

import numpy as np
import pytest

from bench.errors import Unsupported
from bench.splits.amounts import LabelAmount
from bench.splits.stratified import stratified_subset

LABELS = np.array([0] * 400 + [1] * 5 + [-1] * 7)


@pytest.mark.parametrize("shots", [1, 3, 5])
def test_shots_are_as_many_images_of_each_class(shots: int) -> None:
    taken = stratified_subset(LABELS, LabelAmount(shots=shots), 0)

    assert np.bincount(LABELS[taken]).tolist() == [shots, shots]


def test_fewer_shots_lie_inside_more_and_inside_a_fraction_with_as_many() -> None:
    one, three, five = (set(stratified_subset(LABELS, LabelAmount(shots=n), 3).tolist()) for n in (1, 3, 5))

    assert one < three < five < set(stratified_subset(LABELS, 1.0, 3).tolist())
    assert one != set(stratified_subset(LABELS, LabelAmount(shots=1), 4).tolist())


def test_more_shots_than_a_class_has_images_are_refused() -> None:
    with pytest.raises(
        Unsupported, match=r"birds: 6 shots are more than there are images of rare\. Use at most 5"
    ):
        stratified_subset(LABELS, LabelAmount(shots=6), 0, "birds", ["many", "rare"])


def test_a_fraction_keeps_one_of_each_class_only_where_that_is_asked_for() -> None:
    with pytest.raises(
        Unsupported, match=r"leaves 1 without an image .*Use --shots, --keep-one, or at least"
    ):
        stratified_subset(LABELS, 0.01, 0)
    kept = stratified_subset(LABELS, LabelAmount(0.01, keep_one=True), 0)

    assert np.bincount(LABELS[kept]).tolist() == [4, 1]
    assert set(kept.tolist()) < set(stratified_subset(LABELS, 0.5, 0).tolist())


def test_a_fraction_that_leaves_nothing_out_is_the_same_with_one_kept() -> None:
    plain, kept = (stratified_subset(LABELS, LabelAmount(0.5, keep_one=one), 0) for one in (False, True))

    assert np.array_equal(plain, kept)


def test_groups_have_no_shots_and_keep_a_whole_one() -> None:
    groups = np.arange(len(LABELS)) // 5
    with pytest.raises(Unsupported, match="groups of images stay whole, so there are no 5 shots"):
        stratified_subset(LABELS, LabelAmount(shots=5), 0, groups=groups)
    kept = stratified_subset(LABELS, LabelAmount(0.1, keep_one=True), 0, groups=groups)

    assert np.bincount(LABELS[kept]).tolist() == [40, 5]

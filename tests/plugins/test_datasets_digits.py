"""The digits of scikit-learn."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from bench_plugins.datasets.digits import Digits
from sklearn.datasets import load_digits

from bench.api import DataLocation, Selection, UsageError


def digits(**settings: Any) -> Digits:
    return Digits("digits", Selection(**settings), DataLocation())


def test_digits_are_split_once_and_for_all() -> None:
    first, second = digits(), digits()

    assert len(first.load("train")) + len(first.load("test")) == 1_797
    assert first.load("train").pixels.equal(second.load("train").pixels)
    assert set(torch.bincount(first.load("test").labels).tolist()) <= {35, 36, 37}


def test_the_test_split_is_a_fifth_of_each_class_and_so_of_all() -> None:
    test = torch.bincount(digits().load("test").labels).tolist()
    every = torch.bincount(torch.from_numpy(load_digits(return_X_y=True)[1])).tolist()

    assert test == [round(0.2 * count) for count in every]
    assert sum(test) == 359


def test_the_pixels_are_those_of_scikit_learn_over_the_whole_range() -> None:
    images = digits().load("train")
    originals = {
        tuple(row.astype(int)): int(label) for row, label in zip(*load_digits(return_X_y=True), strict=True)
    }
    found = (images.pixels[0].flatten().double() * 16 / 255).round().int().tolist()

    assert images.pixels.shape[1:] == (1, 8, 8)
    assert (images.pixels.min(), images.pixels.max()) == (0, 255)
    assert originals[tuple(found)] == images.labels[0]


def test_no_image_is_both_trained_and_tested_on() -> None:
    train, test = (digits().load(split).pixels.flatten(1).tolist() for split in ("train", "test"))
    shared = set(map(tuple, train)) & set(map(tuple, test))

    assert not shared


def test_labels_agree_with_load_in_a_selection() -> None:
    some = digits(classes=("3", "8"), max_train=20)

    assert some.info.classes == ("3", "8")
    assert some.labels("train") == some.load("train").labels.tolist()
    assert sorted(some.labels("train")) == [0] * 10 + [1] * 10
    assert len(some.labels("test")) > 60


def test_mirroring_and_colouring_a_digit_is_not_allowed() -> None:
    info = digits().info

    assert (info.flip, info.colour, info.channels, info.size) == (False, False, 1, 8)
    assert "a fifth of each class" in info.notes[0]


def test_the_fingerprint_of_digits_is_constant() -> None:
    assert (
        digits().fingerprint()
        == digits(max_train=50).fingerprint()
        == ("0b7e9c3202d7bcd255d6a19a238d3743bf5e320ba74812a6679958a017c55382")
    )


def test_a_selection_that_cannot_work_is_refused_at_once() -> None:
    with pytest.raises(UsageError, match="digits: no class is named 'eight'"):
        digits(classes=("3", "eight"))

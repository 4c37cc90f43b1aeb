"""Labelled images: what this folder offers."""

from __future__ import annotations

from collections.abc import Iterator

from bench.api import Offer, hookimpl


@hookimpl
def bench_datasets() -> Iterator[Offer]:
    """Offer the built-in datasets."""
    yield Offer("digits", ".digits:Digits", "1,797 handwritten digits of 8x8, shipped with scikit-learn.")
    yield Offer("cifar10", ".cifar:CIFAR10", "60,000 colour photographs of 32x32 in 10 classes.")
    yield Offer("cifar100", ".cifar:CIFAR100", "60,000 colour photographs of 32x32 in 100 classes.")
    yield Offer("mnist", ".mnist:MNIST", "70,000 handwritten digits of 28x28.")
    yield Offer("kmnist", ".mnist:KMNIST", "70,000 cursive kana of 28x28 in 10 classes.")
    yield Offer("gtsrb", ".gtsrb:GTSRB", "39,270 photographs of traffic signs in 43 classes.")
    yield Offer("stl10", ".stl10:STL10", "13,000 labelled and 100,000 unlabelled photographs of 96x96.")
    yield Offer(
        "image_folder", ".image_folder:ImageFolder", "Your images, in a folder a class.",
        also=("folder", "custom", "own", "imagenet", "images"), of_folder=True,
    )  # fmt: skip

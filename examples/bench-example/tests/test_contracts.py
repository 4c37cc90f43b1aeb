"""Every plugin keeps bench's contract."""

from __future__ import annotations

from bench_example.convmixer import ConvMixer
from bench_example.gratings import Gratings
from bench_example.lda import LDA
from bench_example.niced import Niced
from bench_example.twist import Twist

from bench.testing import check_backbone, check_dataset, check_evaluator, check_executor, check_method


def test_twist_keeps_the_contract() -> None:
    """Of a method."""
    check_method(Twist, "twist")


def test_convmixer_keeps_the_contract() -> None:
    """Of a backbone."""
    check_backbone(ConvMixer, "convmixer_small")


def test_gratings_keep_the_contract() -> None:
    """Of a data set, with other settings, too."""
    check_dataset(Gratings, "gratings")
    check_dataset(Gratings, "gratings", config=Gratings.Config(directions=3, noise=0.1))


def test_lda_keeps_the_contract() -> None:
    """Of an evaluator."""
    check_evaluator(LDA, "lda")


def test_niced_keeps_the_contract() -> None:
    """Of an executor."""
    check_executor(Niced, "niced")

"""The formulas, in plain loops or against a library."""

from __future__ import annotations

import math

import pytest
import torch
from bench_example.gratings import Gratings
from bench_example.lda import fit
from bench_example.twist import divergence, entropy, mean_class
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from bench.api import DataLocation, Features


def test_the_terms_of_twist_are_those_of_the_paper() -> None:
    """Compare with sums over images and classes."""
    logits = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0)).double()
    p, q = logits.log_softmax(dim=2)
    a, b = p.exp().tolist(), q.exp().tolist()
    apart = sum(x * math.log(x / y) for i, j in zip(a, b, strict=True) for x, y in zip(i, j, strict=True)) / 5
    unsure = [-sum(x * math.log(x) for x in row) for row in a]
    mean = [sum(column) / 5 for column in zip(*a, strict=True)]

    assert divergence(p, q).item() == pytest.approx(apart)
    assert entropy(p).tolist() == pytest.approx(unsure)
    assert mean_class(p).exp().tolist() == pytest.approx(mean)


def test_lda_predicts_what_scikit_learn_does() -> None:
    """Compare with its solver, which shrinks alike."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(60) % 3
    x = torch.randn(60, 4, generator=generator) + y[:, None]
    reference = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.3).fit(x.numpy(), y.numpy())
    logits = fit(Features(x, y), 3, 0.3)(x)

    assert logits.softmax(dim=1).numpy() == pytest.approx(reference.predict_proba(x.numpy()), abs=0.02)


def test_a_class_without_a_row_is_never_predicted() -> None:
    """Fit classes 0 and 2 of three."""
    x, y = torch.tensor([[0.0], [0.1], [1.0], [1.1]]), torch.tensor([0, 0, 2, 2])
    logits = fit(Features(x, y), 3, 0.1)(x)

    assert logits.argmax(dim=1).tolist() == y.tolist()
    assert torch.isneginf(logits[:, 1]).all()


def test_a_grating_without_noise_changes_along_its_direction_alone() -> None:
    """Look at class 0, whose rows are alike."""
    data = Gratings("gratings", Gratings.Config(noise=0.0), DataLocation())
    images = data.load("train").pixels[::4, 0].int()

    assert (images - images[:, :1]).abs().max() <= 1
    assert images.float().std(dim=2).min() > 10

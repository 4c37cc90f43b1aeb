from __future__ import annotations

import numpy as np
import pytest
import torch
from svg_elements import elements

from bench.metrics.calibration import bin_confidence
from bench.metrics.classification import ece
from bench.report.answers import Answers
from bench.report.calibration import draw_calibration
from bench.storage.predictions import Predictions


def predictions(seed: int = 0, images: int = 400) -> Predictions:
    draws = np.random.default_rng(seed)
    labels = draws.integers(0, 3, images).astype(np.int32)
    predicted = draws.integers(0, 3, images).astype(np.int32)
    return Predictions(labels, predicted, draws.uniform(1 / 3, 1, images).astype(np.float16))


def test_bins_are_those_of_a_plain_loop() -> None:
    draws = np.random.default_rng(0)
    sure, right = draws.random(500), draws.random(500) < 0.5
    sure[:4] = [0.0, 0.2, 0.4, 1.0]  # the edges: a bin holds its upper one
    bins = bin_confidence(sure, right, 5)

    for place in range(5):
        inside = [
            index for index, value in enumerate(sure)
            if place / 5 < value <= (place + 1) / 5 or (place == 0 and value == 0)
        ]  # fmt: skip

        assert bins.images[place] == len(inside)
        assert bins.confidence[place] == pytest.approx(100 * sum(sure[i] for i in inside) / len(inside))
        assert bins.accuracy[place] == pytest.approx(100 * sum(right[i] for i in inside) / len(inside))


def test_their_calibration_error_is_the_one_of_records() -> None:
    logits, labels = torch.randn(300, 4, generator=torch.Generator().manual_seed(0)), torch.arange(300) % 4
    sure, predicted = logits.double().softmax(1).max(1)

    assert bin_confidence(sure.numpy(), (predicted == labels).numpy()).ece == pytest.approx(
        ece(logits, labels)
    )


def test_an_empty_bin_says_nothing_and_costs_nothing() -> None:
    bins = bin_confidence(np.array([0.9, 0.95]), np.array([True, True]), 2)

    assert np.isnan([bins.accuracy[0], bins.confidence[0]]).all()
    assert bins.ece == pytest.approx(7.5)


def test_the_diagram_draws_and_lists_the_bins_of_all_seeds() -> None:
    one = Answers("simclr", (predictions(0), predictions(1)), (3.0, 4.0))
    figure = draw_calibration("calibration-x", "t", [one])
    sure = np.concatenate([seed.confidence for seed in one.seeds if seed.confidence is not None])
    bins = bin_confidence(sure, np.concatenate(one.rights))
    filled = np.flatnonzero(bins.images)
    bars = [one for one in elements(figure.svg, "rect") if "fill-opacity" in one.attrib]
    heights = [float(bar.attrib["height"]) for bar in bars]

    assert [row[3] for row in figure.rows] == bins.images[filled].tolist()
    assert [row[5] for row in figure.rows] == pytest.approx(bins.accuracy[filled], abs=0.005)
    assert heights == pytest.approx(190 * bins.accuracy[filled] / 100, abs=0.06)


def test_its_error_is_the_mean_of_the_records_and_is_computed_where_they_have_none() -> None:
    seeds = (predictions(0), predictions(1))
    told = draw_calibration("calibration-x", "t", [Answers("simclr", seeds, (3.0, 4.0))])
    own = [
        bin_confidence(seed.confidence, seed.labels == seed.predicted).ece
        for seed in seeds
        if seed.confidence is not None
    ]

    assert told.rows[0][-1] == 3.5
    assert "ECE 3.50 %" in told.svg
    assert Answers("simclr", seeds).mean_ece == pytest.approx(np.mean(own))


def test_answers_of_which_one_seed_does_not_say_how_sure_it_is_have_no_confidences() -> None:
    silent = predictions()._replace(confidence=None)

    assert len(Answers("simclr", (predictions(), predictions())).confidences) == 2
    assert Answers("simclr", (predictions(), silent)).confidences == ()

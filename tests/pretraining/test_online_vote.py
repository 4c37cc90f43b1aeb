"""The kNN vote during a training: when it comes, on what, and that it changes nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from watched_training import (
    IMAGES,
    TIMES,
    Stopped,
    lines,
    run_in,
    same,
    simclr,
    stop_at,
    untimed,
)

from bench.evaluation.features import extract
from bench.metrics.collapse import embedding_std, rankme
from bench.pretraining import loop as pretrain
from bench.pretraining.online_knn import KnnSample, knn_monitors


def voters(count: int) -> KnnSample:
    """Return a sample of so many images in the bank, and two queries."""
    return KnnSample(IMAGES.take(torch.arange(count)), IMAGES.take(torch.tensor([43, 44])))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_vote_changes_nothing_in_the_training(tmp_path: Path, precision: str) -> None:
    watched, alone = simclr(), simclr()
    settings = {"precision": precision, "epochs": 4}
    pretrain.pretrain(watched, IMAGES, run_in(tmp_path / "watched", knn=voters(2), **settings))
    pretrain.pretrain(alone, IMAGES, run_in(tmp_path / "alone", **settings))
    votes = ("online_knn_top1", "h_std", "h_rankme")

    assert all(set(votes) < set(line) for line in lines(tmp_path / "watched"))
    assert same(watched, alone)
    assert [
        {name: value for name, value in line.items() if name not in votes}
        for line in untimed(tmp_path / "watched")
    ] == untimed(tmp_path / "alone")


def test_a_watched_run_that_was_stopped_is_bitwise_the_one_that_was_not(tmp_path: Path) -> None:
    whole, second = simclr(), simclr(seed=1)
    settings = {"epochs": 5, "knn": voters(7)}
    pretrain.pretrain(whole, IMAGES, run_in(tmp_path / "whole", **settings))
    parts = run_in(tmp_path / "parts", checkpoint_every_s=0.0, **settings)
    with pytest.raises(Stopped):
        pretrain.pretrain(simclr(), IMAGES, replace(parts, on_epoch=stop_at(3)))
    pretrain.pretrain(second, IMAGES, parts)

    assert same(whole, second)
    assert untimed(tmp_path / "parts") == untimed(tmp_path / "whole")


@pytest.mark.parametrize(("count", "epochs"), [(2, [1, 2, 3, 4, 5]), (7, [2, 4, 5]), (43, [5])])
def test_the_vote_is_every_few_epochs_and_after_the_last(
    tmp_path: Path, count: int, epochs: list[int]
) -> None:
    pretrain.pretrain(simclr(), IMAGES, run_in(tmp_path, epochs=5, knn=voters(count)))

    assert [line["epoch"] for line in lines(tmp_path) if "online_knn_top1" in line] == epochs


def test_the_vote_is_on_clean_images_in_eval_mode(tmp_path: Path) -> None:
    method, sample = simclr(), KnnSample(IMAGES.take(torch.arange(30)), IMAGES.take(torch.arange(30, 45)))
    run = run_in(tmp_path, knn=sample)
    pretrain.pretrain(method, IMAGES, run)

    def features(pixels: Tensor) -> Tensor:
        about = {"mean": run.mean, "std": run.std, "device": run.device}
        return torch.cat(list(extract(method.backbone, pixels, image_size=12, channels=3, **about)))

    line, h = lines(tmp_path)[-1], features(sample.queries.pixels)
    expected = {"h_std": float(embedding_std(h)), "h_rankme": float(rankme(h))}
    expected["online_knn_top1"] = float(knn_monitors(sample, features)["online_knn_top1"])

    assert {name: line[name] for name in expected} == pytest.approx(expected, rel=1e-4)
    assert list(line)[-5:] == ["online_knn_top1", "h_std", "h_rankme", *reversed(TIMES)]

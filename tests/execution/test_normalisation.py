"""Images are normalised as the weights expect that a backbone starts from, in training and for features."""

from __future__ import annotations

import json
from typing import Any

import pytest
import timm
import torch
from conftest import Lab
from planned_cells import topmost_change
from safetensors import safe_open
from safetensors.torch import load_file

from bench.execution.assembly import build_backbone
from bench.planning.cells import Cell
from bench.storage.artifact_files import ABOUT, BACKBONE

PRETRAINED = {"backbone.pretrained": True, "train.image_size": 64}


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the weights at random where they would be downloaded."""
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda *a, **kw: create(*a, **{**kw, "pretrained": False}))


def plan(lab: Lab, settings: dict[str, Any], **axes: Any) -> Cell:
    (cell,) = lab.plan(settings, **axes)
    return cell


def about(lab: Lab, cell: Cell) -> dict[str, Any]:
    said: dict[str, Any] = json.loads((lab.artifact(cell.keys.backbone) / ABOUT).read_text())
    return said


@pytest.mark.usefixtures("offline")
def test_weights_of_timm_are_given_images_normalised_as_in_their_own_training(lab: Lab) -> None:
    cell, plain = plan(lab, PRETRAINED), plan(lab, {"train.image_size": 64})
    record, other = lab.run([cell, plain])

    assert (about(lab, cell)["mean"], about(lab, cell)["std"]) == ([0.5], [0.5])
    assert about(lab, plain)["mean"] != [0.5]
    assert record["protocol"]["normalisation"] == {"of": "the weights", "mean": [0.5], "std": [0.5]}
    assert "normalisation" not in other["protocol"]


@pytest.mark.usefixtures("offline")
def test_training_and_fine_tuning_start_from_weights_on_images_as_these_know_them(
    probing: Lab, probes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    simclr, seen = probing.registry.load_class("methods", "simclr"), []
    embed = simclr.embed
    monkeypatch.setattr(simclr, "embed", lambda self, v, b: seen.append(v[0].clone()) or embed(self, v, b))
    settings = {**PRETRAINED, "views.ops": ((),), "train.epochs": 1}
    probing.run([plan(probing, settings, method="simclr", evaluator="witness")])
    data = probing.datasets.open(plan(probing, PRETRAINED).dataset).load("train")
    darkest, brightest = (float(end) / 255 for end in data.pixels.aminmax())

    assert float(seen[0].min()) == pytest.approx((darkest - 0.5) / 0.5, abs=0.05)
    assert float(seen[0].max()) <= (brightest - 0.5) / 0.5 + 1e-5


def test_a_backbone_that_was_saved_here_goes_on_with_what_it_was_trained_on(lab: Lab) -> None:
    first = plan(lab, {}, method="simclr")
    lab.run([first])
    file = lab.artifact(first.keys.backbone) / BACKBONE
    again = plan(lab, {"backbone.weights": str(file), "dataset.max_train": 30}, method="random")
    (record,) = lab.run([again])
    before, after = about(lab, first), about(lab, again)
    with safe_open(file, "pt") as opened:
        stated = opened.metadata()

    assert record["status"] == "ok"
    assert json.loads(stated["normalisation"]) == {"mean": before["mean"], "std": before["std"]}
    assert len(stated) == 1  # several are written in an order that is another in each process
    assert (after["mean"], after["std"]) == (before["mean"], before["std"])


@pytest.mark.usefixtures("offline")
def test_the_key_says_the_normalisation_of_weights_and_nothing_of_the_datas(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    cls = lab.registry.load_class("backbones", "test_resnet")
    plain, weights = plan(lab, {"train.image_size": 64}), plan(lab, PRETRAINED)
    known = cls.normalisation
    monkeypatch.setattr(cls, "normalisation", classmethod(lambda *_: None))
    silent_plain, silent = plan(lab, {"train.image_size": 64}), plan(lab, PRETRAINED)
    monkeypatch.setattr(cls, "normalisation", known)

    assert plain.keys == silent_plain.keys
    assert topmost_change(weights, silent) == "backbone"


def test_a_plugin_says_its_own_normalisation(
    probing: Lab, probes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.api import Normalisation

    said = Normalisation(mean=(0.25,), std=(0.125,))
    tiny = probing.registry.load_class("backbones", "tiny")
    monkeypatch.setattr(tiny, "normalisation", classmethod(lambda *_: said))
    cell = plan(probing, {}, backbone="tiny", evaluator="witness")
    probing.run([cell])
    backbone = build_backbone(cell, probing.registry, 1).eval()
    backbone.load_state_dict(load_file(probing.artifact(cell.keys.backbone) / BACKBONE))
    pixels = probing.datasets.open(cell.dataset).load("test").pixels[:5]
    grown = torch.nn.functional.interpolate(pixels / 255, (16, 16), mode="bilinear", antialias=True)
    with torch.no_grad():
        expected = backbone((grown - 0.25) / 0.125)

    torch.testing.assert_close(probes.SEEN[0].test.x[:5], expected, atol=1e-4, rtol=1e-4)

"""What a method may decide while a grid is planned: its recipe, and what it cannot work with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Lab
from photos import photos

from bench.errors import BadPlugin, BadValue
from bench.planning.cells import Cell

PICKY = {"method": "picky", "backbone": "tiny"}


def plan(lab: Lab, settings: dict[str, Any] | None = None, **axes: Any) -> list[Cell]:
    return lab.plan(settings, **{**PICKY, **axes})


# ---- the recipe


def test_a_setting_may_change_the_recipe_and_then_the_key(probing: Lab) -> None:
    plain, changed = plan(probing, {"method.head_lr": (1.0, 2.0)})

    assert plain.training is not None
    assert changed.training is not None
    assert plain.training.key_fields() == {
        name: value for name, value in changed.training.key_fields().items() if name != "groups"
    }
    assert changed.training.key_fields()["groups"] == [{"match": "head.*", "lr_factor": 2.0}]
    assert plain.keys.backbone != changed.keys.backbone


def test_what_is_set_goes_over_the_recipe_of_a_method(probing: Lab) -> None:
    (cell,) = plan(probing, {"method.head_lr": 2.0, "train.clip_norm": 1.5, "train.lr": 0.3})

    assert cell.training is not None
    assert (cell.training.clip_norm, cell.training.lr) == (1.5, 0.3)
    assert cell.training.groups[0].lr_factor == 2.0


def test_a_recipe_that_is_not_returned_is_a_broken_plugin(
    probing: Lab, probes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes.Picky, "recipe_for", lambda *_args: None)

    with pytest.raises(BadPlugin, match=r"^picky: recipe_for\(\) returned none"):
        plan(probing)


def test_a_recipe_that_cannot_be_names_its_method(
    probing: Lab, probes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes.Picky, "recipe_for", lambda *_args: probes.replace(probes.Probe.recipe, lr=-1))

    with pytest.raises(BadValue, match=r"^picky: recipe.lr: -1 is out of range"):
        plan(probing)


def test_a_training_with_groups_is_recorded_and_found_again(probing: Lab) -> None:
    cells = plan(probing, {"method.head_lr": 2.0, "method.freeze_epochs": 1, "train.betas": [0.8, 0.9],
                           "train.optimizer": "adamw", "train.lr": 0.01})  # fmt: skip
    (record,) = probing.run(cells)
    stored = probing.pipeline().store.find(cells[0].names, cells[0].keys.score)

    assert record["status"] == "ok"
    assert stored == record
    assert record["config"]["training"]["groups"] == [
        {"match": "head.*", "lr_factor": 2.0, "freeze_epochs": 1}
    ]


def test_what_is_frozen_stays_as_it_was_initialised(probing: Lab, probes: Any) -> None:
    """Two epochs, the head frozen in both; in one, it is trained in the other."""
    heads = {}
    for epochs in (0, 1, 2):
        probing.beside(f"frozen-{epochs}").run(plan(probing, {"method.freeze_epochs": epochs}))
        heads[epochs] = probes.MADE[-1].head.weight.detach()
    probing.beside("initial").run(plan(probing, {"method.head_lr": 0.0}))

    assert torch.equal(heads[2], probes.MADE[-1].head.weight)
    assert not torch.equal(heads[1], heads[2])
    assert not torch.equal(heads[0], heads[1])


def test_a_pattern_without_a_parameter_fails_its_cell_and_is_named(probing: Lab) -> None:
    (record,) = probing.run(plan(probing, {"method.pattern": "heads.*", "method.head_lr": 2.0}))

    assert record["status"] == "failed"
    assert "groups: 'heads.*' matches no parameter" in str(record["error"])


def test_a_decay_by_layers_is_refused_while_planning_where_they_are_not_known(probing: Lab) -> None:
    with pytest.raises(BadValue, match=r"^train.layer_decay: tiny does not say the layers") as caught:
        plan(probing, {"train.layer_decay": 0.75})

    assert "\n" not in str(caught.value)
    assert plan(probing, {"train.layer_decay": 1})


# ---- the check


def test_a_method_checks_the_backbone_and_the_data(probing: Lab, probes: Any) -> None:
    (cell,) = plan(probing)
    ((config, backbone, data, image_size),) = probes.CHECKED

    assert config == cell.method.config
    assert (backbone.dim, backbone.map_size) == (8, 7)
    assert data == replace(probing.datasets.open(cell.dataset).info, images=48)
    assert image_size == 16


def test_what_a_method_cannot_work_with_is_a_cell_to_skip(probing: Lab) -> None:
    small, large = plan(probing, {"train.image_size": (16, 32), "method.map_size": 10})

    assert small.skip == "picky: it needs a map of 10, the backbone's is 7."
    assert large.skip is None


def test_a_config_that_a_method_cannot_work_with_is_a_usage_error(probing: Lab) -> None:
    with pytest.raises(BadValue, match=r"^picky: map_size is 0"):
        plan(probing, {"method.map_size": 0})


def test_a_method_checks_once_however_many_cells_there_are(probing: Lab, probes: Any) -> None:
    cells = plan(probing, {"train.lr": (0.1, 0.2)}, seed=(0, 1), label_frac=(0.5, 1.0))

    assert len(cells) == 8
    assert len(probes.CHECKED) == 1


def test_a_method_is_not_asked_about_a_backbone_that_cannot_work(probing: Lab, probes: Any) -> None:
    small, _ = plan(probing, {"train.image_size": (8, 16)})

    assert small.skip == "tiny needs 16 px, the images have 8. Set --image-size."
    assert [image_size for *_, image_size in probes.CHECKED] == [16]


# ---- the training


def test_a_method_checks_the_training_as_it_is_resolved_once(probing: Lab, probes: Any) -> None:
    cells = plan(probing, {"train.lr": 0.3, "train.accumulate": 2}, seed=(0, 1), label_frac=(0.5, 1.0))
    ((config, training, data),) = probes.TRAININGS

    assert config == cells[0].method.config
    assert training == cells[0].training
    assert (training.lr, training.step_images, data.images) == (0.3, 32, 48)


def test_a_training_that_a_method_cannot_do_is_a_cell_to_skip(probing: Lab) -> None:
    small, large = plan(probing, {"train.batch_size": (8, 16), "method.least_batch": 10})

    assert small.skip == "picky: it needs 10 images a batch, there are 8 of 48. Set --batch-size."
    assert large.skip is None


def test_where_nothing_else_is_asked_for_it_is_a_usage_error_of_one_line(probing: Lab) -> None:
    with pytest.raises(BadValue, match=r"^picky: it needs 17 images a batch, there are 16 of 48\.") as caught:
        plan(probing, {"method.least_batch": 17})

    assert "\n" not in str(caught.value)


def test_a_config_that_can_do_no_training_is_a_usage_error(probing: Lab) -> None:
    with pytest.raises(BadValue, match=r"^picky: least_batch is 0"):
        plan(probing, {"method.least_batch": 0})


def test_a_method_that_trains_nothing_has_no_training_to_check(probing: Lab, probes: Any) -> None:
    (cell,) = plan(probing, method="random", backbone="tiny")

    assert cell.training is None
    assert probes.TRAININGS == []


@pytest.mark.parametrize(("uses_labels", "images"), [(False, 24), (True, 42)])
def test_it_is_told_how_many_images_an_index_counts_when_it_is_planned_and_when_it_is_made(
    probing: Lab,
    probes: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    uses_labels: bool,  # noqa: FBT001
    images: int,
) -> None:
    """Without labels those of train; with them those of train and val, however few of them it sees."""
    made, told = probes.Picky.__init__, []

    def making(self: Any, backbone: Any, dim: int, config: Any, data: Any) -> None:
        told.append(data.images)
        made(self, backbone, dim, config, data)

    monkeypatch.setattr(probes.Picky, "uses_labels", uses_labels)
    monkeypatch.setattr(probes.Picky, "__init__", making)
    root = photos(tmp_path / "photos", {"train": 8, "val": 6, "test": 4})
    settings = {"dataset.root": str(root), "dataset.max_train": None, "train.epochs": 1}
    (record,) = probing.run(plan(probing, settings, dataset="image_folder", label_frac=0.7))

    assert record["status"] == "ok"
    assert told == [images]
    assert [data.images for *_, data in probes.TRAININGS] == [images]
    assert [data.images for _, _, data, _ in probes.CHECKED] == [images]

"""What is meant to change a number moves its key and all below it; nothing else moves any."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from bench_plugins.evaluators.knn import KNN
from bench_plugins.evaluators.linear import Linear
from bench_plugins.evaluators.mlp import MLP
from conftest import Lab
from planned_cells import TRAIN, only, photos, plan_one, topmost_change

from bench.api import Evaluator
from bench.keys import canonical, digest, seed_of
from bench.planning.cells import Cell
from bench.planning.open_datasets import Datasets
from bench.planning.planner import plan
from bench.planning.request import Request

# ---- the digest


def test_a_digest_does_not_depend_on_the_order_or_the_container() -> None:
    assert digest({"a": 1, "b": (2, 3)}) == digest({"b": [2, 3], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})


def test_a_digest_stays_what_it_was() -> None:
    text = '{"a":[1,2.5,null,true],"b":"\\u00e4"}'

    assert canonical({"b": "ä", "a": (1, 2.5, None, True)}) == text
    assert digest({"b": "ä", "a": (1, 2.5, None, True)}) == hashlib.sha256(text.encode()).hexdigest()[:20]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_json_cannot_carry_has_no_digest(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        digest({"a": value})


def test_an_object_has_no_digest() -> None:
    with pytest.raises(TypeError):
        digest({"a": object()})


def test_draws_have_seeds_of_their_position() -> None:
    positions = [
        (0, "views", 1, 2),
        (0, "views", 2, 1),
        (0, "views", 12),
        (0, "shuffle", 1, 2),
        (1, "views", 1, 2),
    ]
    seeds = [seed_of(*position) for position in positions]

    assert len(set(seeds)) == len(positions)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert seeds[0] == seed_of(0, "views", 1, 2)
    assert seed_of(0, "init") == 5178188355558464636


# ---- what moves which key


@pytest.mark.parametrize(
    ("setting", "stage"),
    [
        ({"method.temperature": 0.123}, "backbone"),
        ({"simclr.temperature": 0.123}, "backbone"),
        ({"views.crop_min": 0.3}, "backbone"),
        ({"train.lr": 0.2}, "backbone"),
        ({"backbone.stem": "small"}, "backbone"),
        ({"dataset.max_train": 50}, "backbone"),
        ({"eval_dataset.max_train": 50}, "features"),
        ({"knn.k": 3}, "score"),
        ({"knn.temperature": 0.1}, "score"),
    ],
)
def test_a_setting_moves_the_keys_from_its_stage_down(lab: Lab, setting: dict[str, Any], stage: str) -> None:
    before, after = plan_one(lab), plan_one(lab, setting)

    assert topmost_change(before, after) == stage


@pytest.mark.parametrize(
    ("axis", "stage"),
    [
        ({"method": "vicreg"}, "backbone"),
        ({"backbone": "test_vit"}, "backbone"),
        ({"seed": 1}, "backbone"),
        ({"evaluator": "linear"}, "score"),
        ({"label_frac": 0.5}, "score"),
        ({"eval_dataset": "digits"}, "nothing"),
    ],
)
def test_an_axis_moves_the_keys_from_its_stage_down(lab: Lab, axis: dict[str, Any], stage: str) -> None:
    assert topmost_change(plan_one(lab), plan_one(lab, **axis)) == stage


def test_a_cell_has_the_keys_in_a_grid_that_it_has_alone(lab: Lab) -> None:
    """What cells have in common is worked out once: nothing of one cell may end up in another."""
    axes = {"method": ("simclr", "supervised"), "seed": (0, 1), "label_frac": (0.5, 1.0)}
    settings = {"train.momentum": (0.8, 0.9), "views.crop_min": (0.2, 0.5), "knn.k": (3, 5),
                "eval_dataset.max_train": (50, 60)}  # fmt: skip
    common = {"train.epochs": 30, "train.lr": 0.1, "dataset.max_train": 60}
    alone = [
        lab.plan(
            {**common, **dict(zip(settings, values, strict=True))}, **dict(zip(axes, point, strict=True))
        )
        for values in itertools.product(*settings.values())
        for point in itertools.product(*axes.values())
    ]
    grid = {cell.keys.score: cell.keys for cell in lab.plan({**common, **settings}, **axes)}

    assert grid == {cell.keys.score: cell.keys for cell in map(only, alone)}
    assert len(grid) == 2**7


def test_every_split_has_features_of_its_own(lab: Lab) -> None:
    keys = plan_one(lab).keys

    assert set(keys.features) == {"train", "test"}
    assert len({keys.backbone, *keys.features.values(), keys.score}) == 4


def test_the_drawn_subset_is_in_the_score_key(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels in another order, which the fingerprint does not tell, give another subset."""
    before, digits = plan_one(lab, label_frac=0.5), lab.registry.load_class("datasets", "digits")
    labels = digits.labels
    monkeypatch.setattr(digits, "labels", lambda self, split: labels(self, split)[::-1])

    assert topmost_change(before, plan_one(lab, label_frac=0.5)) == "score"


def test_fractions_that_draw_the_same_images_are_two_scores(lab: Lab) -> None:
    assert topmost_change(plan_one(lab, label_frac=0.15), plan_one(lab, label_frac=0.2)) == "score"


def test_a_changed_image_moves_what_was_trained_or_evaluated_on_it(lab: Lab, tmp_path: Path) -> None:
    old, new = photos(tmp_path / "old"), photos(tmp_path / "new", shade=9)

    def on(role: str, root: Path) -> Cell:
        axes = {"dataset": "image_folder"} if role == "dataset" else {"eval_dataset": "image_folder"}
        return plan_one(
            Lab(lab.folder, lab.registry), {f"{role}.root": str(root), "dataset.max_train": 30}, **axes
        )

    assert topmost_change(on("dataset", old), on("dataset", new)) == "backbone"
    assert topmost_change(on("eval_dataset", old), on("eval_dataset", new)) == "features"


def test_where_things_are_moves_nothing(lab: Lab, tmp_path: Path) -> None:
    old = photos(tmp_path / "old")
    here = plan_one(lab, {"dataset.root": str(old), "dataset.max_train": 30}, dataset="image_folder")
    shutil.copytree(old, tmp_path / "elsewhere" / "new")
    lab.datasets = Datasets(lab.registry, tmp_path / "other-data-dir", download=True)
    root = str(tmp_path / "elsewhere" / "new")
    there = plan_one(lab, {"dataset.root": root, "dataset.max_train": 30}, dataset="image_folder")

    assert topmost_change(here, there) == "nothing"


def test_a_request_does_not_know_device_jobs_or_folders() -> None:
    names = {field.name for field in dataclasses.fields(Request)}

    assert names == {"method", "backbone", "dataset", "evaluator", "label_frac", "shots", "keep_one",
                     "eval_dataset", "seed", "settings", "auto_precision"}  # fmt: skip


def test_precision_auto_is_the_precision_it_stands_for(lab: Lab) -> None:
    before, after = plan_one(lab), plan_one(lab, {"train.precision": "float32"})

    assert topmost_change(before, after) == "nothing"


def test_how_a_value_is_written_moves_nothing(lab: Lab) -> None:
    before, after = plan_one(lab, {"train.weight_decay": 1}), plan_one(lab, {"train.weight_decay": "1.0"})

    assert topmost_change(before, after) == "nothing"


def test_a_default_that_is_set_moves_nothing(lab: Lab) -> None:
    default = lab.registry.load_class("methods", "simclr").Config().temperature

    assert topmost_change(plan_one(lab), plan_one(lab, {"method.temperature": default})) == "nothing"


@pytest.mark.parametrize(
    ("kind", "name", "stage"),
    [
        ("methods", "simclr", "backbone"),
        ("backbones", "test_resnet", "backbone"),
        ("datasets", "digits", "backbone"),
        ("evaluators", "knn", "score"),
    ],
)
def test_a_raised_version_moves_the_keys_from_its_stage_down(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, kind: str, name: str, stage: str
) -> None:
    before = plan_one(lab)
    part = lab.registry.load_class(kind, name)
    monkeypatch.setattr(part, "version", part.version + 1)

    assert topmost_change(before, plan_one(lab)) == stage


@pytest.mark.parametrize(
    "setting",
    [{f"train.{name}": value} for name, value in TRAIN.items() if name != "image_size"]
    + [{"views.crop_min": 0.3}],
    ids=str,
)
def test_what_shapes_no_training_does_not_move_the_random_baseline(lab: Lab, setting: dict[str, Any]) -> None:
    before, after = (
        plan_one(lab, method="random"),
        plan_one(lab, {"train.lr": 0.1, **setting}, method="random"),
    )

    assert topmost_change(before, after) == "nothing"


@pytest.mark.parametrize("changed", [{"settings": {"train.image_size": 20}}, {"seed": 1}], ids=str)
def test_size_and_seed_move_the_random_baseline(lab: Lab, changed: dict[str, Any]) -> None:
    assert (
        topmost_change(plan_one(lab, method="random"), plan_one(lab, **{"method": "random", **changed}))
        == "backbone"
    )


@pytest.mark.parametrize(
    ("user", "settings", "used"),
    [
        ("mlp", {}, Linear),
        ("label-fraction", {}, Linear),
        ("label-fraction", {"label-fraction.probe": "knn"}, KNN),
        ("label-fraction", {"label-fraction.probe": "mlp"}, MLP),
        ("label-fraction", {"label-fraction.probe": "mlp"}, Linear),
    ],
)
def test_the_key_of_an_evaluator_holds_the_version_of_another_that_it_fits(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, user: str, settings: dict[str, Any], used: type[Evaluator]
) -> None:
    def scores() -> tuple[str, str]:
        own, other = lab.plan(settings, evaluator=user)[0], lab.plan(evaluator="geometry")[0]
        return own.keys.score, other.keys.score

    before = scores()
    monkeypatch.setattr(used, "version", used.version + 1)
    after = scores()

    assert after[0] != before[0]
    assert after[1] == before[1]


def test_the_key_of_an_evaluator_holds_the_settings_of_another_that_it_fits(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compare_with_another(_: MLP.Config) -> dict[str, Evaluator]:
        return {"linear": Linear(Linear.Config(l2_steps=3))}

    (before,) = lab.plan(evaluator="mlp")
    monkeypatch.setattr(MLP, "uses", compare_with_another)
    (after,) = lab.plan(evaluator="mlp")

    assert after.keys.score != before.keys.score


def test_what_auto_stands_for_is_in_the_key_of_an_evaluator_that_computes_in_it(lab: Lab) -> None:
    def plan_in(precision: str, **settings: tuple[str, ...]) -> Cell:
        request = Request(method=("random",), evaluator=("mlp",), settings=settings, auto_precision=precision)
        (cell,) = plan(request, lab.registry, lab.datasets)
        return cell

    half, whole = plan_in("bfloat16"), plan_in("float32")
    named = plan_in("float32", **{"mlp.precision": ("bfloat16",)})

    assert half.evaluator.config.precision == "bfloat16"
    assert half.keys.score == named.keys.score != whole.keys.score
    assert half.keys.features == whole.keys.features

"""What is meant to change a number moves its key and all below it; nothing else moves any."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import math
import shutil
import typing
from pathlib import Path
from typing import Any

import pytest
import timm
from conftest import Lab
from PIL import Image
from safetensors.torch import save_file

from bench.augmentation.view import View
from bench.config import NoSettings, build, identity
from bench.contracts.recipe import Recipe, TrainConfig
from bench.errors import BadValue
from bench.execution.assembly import build_backbone
from bench.keys import canonical, digest, seed_of
from bench.planning.cells import Cell
from bench.planning.open_datasets import Datasets
from bench.planning.request import Request
from bench.registry.registry import KINDS, Registry

REGISTRY = Registry.load()
MEMBERS = {"timm": "test_resnet"}  # of each family, one to look at
DOWNLOADED = {"cifar10", "cifar100", "mnist", "kmnist", "gtsrb", "stl10"}  # their tests have small ones
BELOW = {"backbone": ("backbone", "features", "score"), "features": ("features", "score"),
         "score": ("score",), "nothing": ()}  # fmt: skip
TRAIN = {  # every field of TrainConfig at another value than in `trained`
    "epochs": 40,
    "batch_size": 24,
    "chunk_size": 8,
    "accumulate": 2,
    "image_size": 20,
    "precision": "bfloat16",
    "optimizer": "adamw",
    "lr": 0.3,
    "lr_scaling": "linear",
    "weight_decay": 0.01,
    "momentum": 0.8,
    "warmup_epochs": 1,
    "compile": True,
    "betas": [0.9, 0.95],
    "nesterov": True,
    "min_lr": 0.01,
    "weight_decay_end": 0.1,
    "clip_norm": 1.0,
    "clip_scope": "parameter",
    "layer_decay": 0.75,
}
NEEDED = {  # what is set before and after, for a field of TrainConfig to do something
    "betas": {"train.optimizer": "adamw"},
    "nesterov": {"train.optimizer": "sgd"},
    "clip_scope": {"train.clip_norm": 2.0},
}
OTHERS = {  # fields whose values have to agree with those of another field
    "fractions": [0.01, 0.02, 0.1, 1],
    "draws": [4, 4, 2, 1],
}
TOGETHER = {"linear-sgd.optimizer": {"linear-sgd.lr_grid": [1e-3, 1e-2]}}  # set before and after


def plugins() -> list[tuple[str, str]]:
    return [
        (kind, MEMBERS[entry.name] if entry.family else entry.name)
        for kind in KINDS
        for entry in REGISTRY.entries(kind)
    ]


def fields() -> list[tuple[str, str, str]]:
    """Return each Config field of each registered plugin."""
    configs = {(kind, name): REGISTRY.load_class(kind, name).Config for kind, name in plugins()}
    return [(*plugin, f.name) for plugin, config in configs.items() for f in dataclasses.fields(config)]


def another(config: type, name: str, file: Path) -> Any:
    """Return a value of a field, as YAML would give it, that is valid and not the default."""
    field = next(f for f in dataclasses.fields(config) if f.name == name)
    hint = typing.get_type_hints(config)[name]
    if name in OTHERS:
        return OTHERS[name]
    if field.metadata["file"]:
        return str(file)
    if field.metadata["choices"]:
        return next(value for value in field.metadata["choices"] if value != field.default)
    if "tuple" in str(hint):
        return [2 * value for value in field.default] or ["1", "2"]
    if isinstance(field.default, bool):
        return not field.default
    if field.default is None:
        return 2 * field.metadata["least"]
    for value in (field.default + 1, field.default * 0.9, field.default + 0.1):
        try:
            if build(config, {name: value}, "test") != build(config, {}, "test"):
                return value
        except BadValue:
            continue
    raise AssertionError(f"{config}.{name}: no other value is known. Add one.")


def moved(before: Cell, after: Cell) -> str:
    """Return the topmost key that differs, and make sure that all below it do."""
    differs = {
        "backbone": before.keys.backbone != after.keys.backbone,
        "features": before.keys.features != after.keys.features,
        "score": before.keys.score != after.keys.score,
    }
    found = tuple(stage for stage, is_other in differs.items() if is_other)
    return next(stage for stage, below in BELOW.items() if below == found)


def only(cells: list[Cell]) -> Cell:
    (cell,) = cells
    return cell


def trained(lab: Lab, settings: dict[str, Any] | None = None, **asked: Any) -> Cell:
    """Plan one cell that trains long enough for every setting to count."""
    long = {"train.epochs": 30, "train.lr": 0.1, "dataset.max_train": 60}
    return only(lab.plan({**long, **(settings or {})}, **{"method": "simclr", **asked}))


def photos(root: Path, shade: int = 0) -> Path:
    """Write two classes of coloured images; `shade` is of one pixel of one of them."""
    for split, count in (("train", 20), ("test", 4)):
        for place, name in enumerate(("1", "2")):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                image = Image.new("RGB", (16, 16), (10 * number, 100 * place, 50))
                image.putpixel((0, 0), (0, 0, shade if number == 0 else 0))
                image.save(root / split / name / f"{number}.bmp")
    return root


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


def test_draws_have_seeds_of_their_place() -> None:
    places = [
        (0, "views", 1, 2),
        (0, "views", 2, 1),
        (0, "views", 12),
        (0, "shuffle", 1, 2),
        (1, "views", 1, 2),
    ]
    seeds = [seed_of(*place) for place in places]

    assert len(set(seeds)) == len(places)
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
    before, after = trained(lab), trained(lab, setting)

    assert moved(before, after) == stage


@pytest.mark.parametrize(
    ("asked", "stage"),
    [
        ({"method": "vicreg"}, "backbone"),
        ({"backbone": "test_vit"}, "backbone"),
        ({"seed": 1}, "backbone"),
        ({"evaluator": "linear"}, "score"),
        ({"label_frac": 0.5}, "score"),
        ({"eval_dataset": "digits"}, "nothing"),
    ],
)
def test_an_axis_moves_the_keys_from_its_stage_down(lab: Lab, asked: dict[str, Any], stage: str) -> None:
    assert moved(trained(lab), trained(lab, **asked)) == stage


def test_a_cell_has_the_keys_in_a_grid_that_it_has_alone(lab: Lab) -> None:
    """What cells have in common is worked out once: nothing of one cell may end up in another."""
    axes = {"method": ("simclr", "supervised"), "seed": (0, 1), "label_frac": (0.5, 1.0)}
    settings = {"train.momentum": (0.8, 0.9), "views.crop_min": (0.2, 0.5), "knn.k": (3, 5),
                "eval_dataset.max_train": (50, 60)}  # fmt: skip
    common = {"train.epochs": 30, "train.lr": 0.1, "dataset.max_train": 60}
    alone = [
        lab.plan(
            {**common, **dict(zip(settings, values, strict=True))}, **dict(zip(axes, place, strict=True))
        )
        for values in itertools.product(*settings.values())
        for place in itertools.product(*axes.values())
    ]
    grid = {cell.keys.score: cell.keys for cell in lab.plan({**common, **settings}, **axes)}

    assert grid == {cell.keys.score: cell.keys for cell in map(only, alone)}
    assert len(grid) == 2**7


def test_every_split_has_features_of_its_own(lab: Lab) -> None:
    keys = trained(lab).keys

    assert set(keys.features) == {"train", "test"}
    assert len({keys.backbone, *keys.features.values(), keys.score}) == 4


def test_the_drawn_subset_is_in_the_score_key(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels in another order, which the fingerprint does not tell, give another subset."""
    before, digits = trained(lab, label_frac=0.5), lab.registry.load_class("datasets", "digits")
    labels = digits.labels
    monkeypatch.setattr(digits, "labels", lambda self, split: labels(self, split)[::-1])

    assert moved(before, trained(lab, label_frac=0.5)) == "score"


def test_fractions_that_draw_the_same_images_are_two_scores(lab: Lab) -> None:
    assert moved(trained(lab, label_frac=0.15), trained(lab, label_frac=0.2)) == "score"


def test_a_changed_image_moves_what_was_trained_or_evaluated_on_it(lab: Lab, tmp_path: Path) -> None:
    old, new = photos(tmp_path / "old"), photos(tmp_path / "new", shade=9)

    def on(role: str, root: Path) -> Cell:
        axes = {"dataset": "image_folder"} if role == "dataset" else {"eval_dataset": "image_folder"}
        return trained(
            Lab(lab.folder, lab.registry), {f"{role}.root": str(root), "dataset.max_train": 30}, **axes
        )

    assert moved(on("dataset", old), on("dataset", new)) == "backbone"
    assert moved(on("eval_dataset", old), on("eval_dataset", new)) == "features"


def test_where_things_are_moves_nothing(lab: Lab, tmp_path: Path) -> None:
    old = photos(tmp_path / "old")
    here = trained(lab, {"dataset.root": str(old), "dataset.max_train": 30}, dataset="image_folder")
    shutil.copytree(old, tmp_path / "elsewhere" / "new")
    lab.datasets = Datasets(lab.registry, tmp_path / "other-data-dir", download=True)
    root = str(tmp_path / "elsewhere" / "new")
    there = trained(lab, {"dataset.root": root, "dataset.max_train": 30}, dataset="image_folder")

    assert moved(here, there) == "nothing"


def test_a_request_does_not_know_device_jobs_or_folders() -> None:
    names = {field.name for field in dataclasses.fields(Request)}

    assert names == {"method", "backbone", "dataset", "evaluator", "label_frac", "eval_dataset", "seed",
                     "settings", "auto_precision"}  # fmt: skip


def test_precision_auto_is_the_precision_it_stands_for(lab: Lab) -> None:
    before, after = trained(lab), trained(lab, {"train.precision": "float32"})

    assert moved(before, after) == "nothing"


def test_how_a_value_is_written_moves_nothing(lab: Lab) -> None:
    before, after = trained(lab, {"train.weight_decay": 1}), trained(lab, {"train.weight_decay": "1.0"})

    assert moved(before, after) == "nothing"


def test_a_default_that_is_set_moves_nothing(lab: Lab) -> None:
    default = lab.registry.load_class("methods", "simclr").Config().temperature

    assert moved(trained(lab), trained(lab, {"method.temperature": default})) == "nothing"


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
    before = trained(lab)
    part = lab.registry.load_class(kind, name)
    monkeypatch.setattr(part, "version", part.version + 1)

    assert moved(before, trained(lab)) == stage


@pytest.mark.parametrize(
    "setting",
    [{f"train.{name}": value} for name, value in TRAIN.items() if name != "image_size"]
    + [{"views.crop_min": 0.3}],
    ids=str,
)
def test_what_shapes_no_training_does_not_move_the_random_baseline(lab: Lab, setting: dict[str, Any]) -> None:
    before, after = trained(lab, method="random"), trained(lab, {"train.lr": 0.1, **setting}, method="random")

    assert moved(before, after) == "nothing"


@pytest.mark.parametrize("changed", [{"settings": {"train.image_size": 20}}, {"seed": 1}], ids=str)
def test_size_and_seed_move_the_random_baseline(lab: Lab, changed: dict[str, Any]) -> None:
    assert moved(trained(lab, method="random"), trained(lab, **{"method": "random", **changed})) == "backbone"


# ---- every field


@pytest.mark.parametrize(("kind", "name", "field"), fields())
def test_every_field_of_every_plugin_is_in_its_identity(
    kind: str, name: str, field: str, tmp_path: Path
) -> None:
    config = REGISTRY.load_class(kind, name).Config
    (tmp_path / "file").write_bytes(b"content")
    changed = build(config, {field: another(config, field, tmp_path / "file")}, name)

    assert digest(identity(config())) != digest(identity(changed))


def test_a_file_counts_by_its_content(tmp_path: Path) -> None:
    config = REGISTRY.load_class("backbones", "test_resnet").Config
    for name, content in (("one", b"a"), ("same", b"a"), ("other", b"b")):
        (tmp_path / name).write_bytes(content)
    one, same, other = (identity(config(weights=str(tmp_path / n))) for n in ("one", "same", "other"))

    assert one == same
    assert one != other


@pytest.mark.parametrize(("kind", "name", "field"), [f for f in fields() if f[1] not in DOWNLOADED])
def test_every_field_of_every_plugin_moves_the_keys_of_its_stage(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, name: str, field: str
) -> None:
    create = timm.create_model  # no test downloads weights; their digest is no part of a key
    monkeypatch.setattr(timm, "create_model", lambda *a, **kw: create(*a, **{**kw, "pretrained": False}))
    axis = kind.removesuffix("s")
    places = {"dataset.root": str(photos(tmp_path / "photos"))} if name == "image_folder" else {}
    large = {"train.image_size": 64} if kind == "backbones" else {}  # pretrained weights halve it five times
    few = {**places, **large, "dataset.max_train": 32, **TOGETHER.get(f"{name}.{field}", {})}
    before = trained(lab, few, **{axis: name})
    file = tmp_path / "weights.safetensors"
    save_file(build_backbone(before, lab.registry, 1).state_dict(), file)
    found = another(lab.registry.load_class(kind, name).Config, field, file)
    value = 30 if field == "max_train" else found
    part = name if kind == "evaluators" else axis
    after = trained(lab, {**few, f"{part}.{field}": value}, **{axis: name})

    assert moved(before, after) == ("score" if kind == "evaluators" else "backbone")


def test_every_field_of_the_training_moves_the_backbone(lab: Lab) -> None:
    stages = {}
    for name, value in TRAIN.items():
        needed = NEEDED.get(name, {})
        stages[name] = moved(trained(lab, needed), trained(lab, {**needed, f"train.{name}": value}))

    assert stages == dict.fromkeys((f.name for f in dataclasses.fields(TrainConfig)), "backbone")


def test_every_number_of_a_recipe_can_be_set(lab: Lab) -> None:
    assert {f.name for f in dataclasses.fields(Recipe)} - {"source", "groups"} <= set(TRAIN)


def test_every_field_of_a_view_moves_the_backbone(lab: Lab, tmp_path: Path) -> None:
    places = {"dataset.root": str(photos(tmp_path / "photos")), "dataset.max_train": 30}

    def colourful(settings: dict[str, Any]) -> Cell:
        return trained(lab, {**places, **settings}, dataset="image_folder")

    before, names = colourful({}), [f.name for f in dataclasses.fields(View)]
    changed = {name: another(View, name, tmp_path) for name in names}
    stages = {name: moved(before, colourful({f"views.{name}": value})) for name, value in changed.items()}

    assert stages == dict.fromkeys(names, "backbone")


def test_a_plugin_without_settings_has_an_identity(lab: Lab) -> None:
    assert identity(NoSettings()) == {}

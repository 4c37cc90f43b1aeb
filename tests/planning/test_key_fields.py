"""Every setting of every plugin, of a training and of a view is in the key of its stage."""

from __future__ import annotations

import dataclasses
import typing
from pathlib import Path
from typing import Any

import pytest
import timm
from conftest import Lab
from planned_cells import TRAIN, photos, plan_one, topmost_change
from safetensors.torch import save_file

from bench.augmentation.view import View
from bench.config import NoSettings, build, identity
from bench.contracts.recipe import Recipe, TrainConfig
from bench.errors import BadValue
from bench.execution.assembly import build_backbone
from bench.keys import digest
from bench.planning.cells import Cell
from bench.registry.registry import CELL_KINDS, Registry

REGISTRY = Registry.load()
MEMBERS = {"timm": "test_resnet"}  # of each family, one to look at
DOWNLOADED = {"cifar10", "cifar100", "mnist", "kmnist", "gtsrb", "stl10"}  # their tests have small ones
NEEDED = {  # what is set before and after, for a field of TrainConfig to do something
    "budget": {"train.epochs": None},
    "betas": {"train.optimizer": "adamw"},
    "nesterov": {"train.optimizer": "sgd"},
    "clip_scope": {"train.clip_norm": 2.0},
}
OF_FEATURES = ("blocks", "pool")  # move the keys of features: see evaluation/test_feature_specs.py
OTHERS = {  # fields whose values have to agree with those of another field
    "fractions": [0.01, 0.02, 0.1, 1],
    "draws": [4, 4, 2, 1],
    "prototypes": 20,
    "window": 320,
    "splits": ["train=train", "test=test"],
    "columns": ["file=other"],
}
NEEDED_BY = {  # what is set before and after, for a plugin to work with so little data
    "deepcluster_v2": {"method.prototypes": 8},
    "swav": {"method.prototypes": 8},
    "wmse": {"method.window": 160, "train.batch_size": 320, "dataset.max_train": 320},
}
TOGETHER = {"linear-sgd.optimizer": {"linear-sgd.lr_grid": [1e-3, 1e-2]}}  # set before and after


def plugins() -> list[tuple[str, str]]:
    return [
        (kind, MEMBERS[entry.name] if entry.family else entry.name)
        for kind in CELL_KINDS
        for entry in REGISTRY.entries(kind)
    ]


def fields() -> list[tuple[str, str, str]]:
    """Return each Config field of each registered plugin."""
    configs = {(kind, name): REGISTRY.load_class(kind, name).Config for kind, name in plugins()}
    return [(*plugin, f.name) for plugin, config in configs.items() for f in dataclasses.fields(config)]


def list_files(folder: Path) -> Path:
    """Write a list of the images of a folder, with two columns that name them."""
    lines = [
        f"{file.relative_to(folder)},{file.relative_to(folder)},{file.parent.name},{file.parent.parent.name}"
        for file in sorted(folder.glob("*/*/*"))
    ]
    (folder / "list.csv").write_text("\n".join(["file,other,label,split", *lines]) + "\n")
    return folder / "list.csv"


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


@pytest.mark.parametrize(
    ("kind", "name", "field"), [f for f in fields() if f[1] not in DOWNLOADED and f[2] not in OF_FEATURES]
)
def test_every_field_of_every_plugin_moves_the_keys_of_its_stage(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, name: str, field: str
) -> None:
    create = timm.create_model  # no test downloads weights; their digest is no part of a key
    monkeypatch.setattr(timm, "create_model", lambda *a, **kw: create(*a, **{**kw, "pretrained": False}))
    axis = kind.removesuffix("s")
    location = {"dataset.root": str(photos(tmp_path / "photos"))} if name == "image_folder" else {}
    if field == "columns":  # of a list alone
        location = {"dataset.root": str(list_files(tmp_path / "photos"))}
    large = {"train.image_size": 64} if kind == "backbones" else {}  # pretrained weights halve it five times
    together = {**NEEDED_BY.get(name, {}), **TOGETHER.get(f"{name}.{field}", {})}
    few = {**location, **large, "dataset.max_train": 32, **together}
    names = {axis: name} | ({"backbone": "test_vit"} if name == "mae" or field == "vit" else {})  # of patches
    before = plan_one(lab, few, **names)
    file = tmp_path / "weights.safetensors"
    save_file(build_backbone(before, lab.registry, 1).state_dict(), file)
    config = lab.registry.load_class(kind, name).Config
    value = 30 if field == "max_train" else another(config, field, file)
    part = name if kind == "evaluators" else axis
    after = plan_one(lab, {**few, f"{part}.{field}": value}, **names)

    assert topmost_change(before, after) == ("score" if kind == "evaluators" else "backbone")


def test_every_field_of_the_training_moves_the_backbone(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = lab.registry.load_class("backbones", "test_resnet")
    monkeypatch.setattr(backbone, "parameter_layers", dict, raising=False)  # or `layer_decay` is refused
    stages = {}
    for name, value in TRAIN.items():
        needed = NEEDED.get(name, {})
        stages[name] = topmost_change(
            plan_one(lab, needed), plan_one(lab, {**needed, f"train.{name}": value})
        )

    assert stages == dict.fromkeys((f.name for f in dataclasses.fields(TrainConfig)), "backbone")


def test_every_number_of_a_recipe_can_be_set(lab: Lab) -> None:
    assert {f.name for f in dataclasses.fields(Recipe)} - {"source", "groups"} <= set(TRAIN)


def test_every_field_of_a_view_moves_the_backbone(probing: Lab, tmp_path: Path) -> None:
    location = {"dataset.root": str(photos(tmp_path / "photos")), "dataset.max_train": 30}

    def colourful(settings: dict[str, Any]) -> Cell:
        return plan_one(probing, {**location, **settings}, dataset="image_folder", backbone="tiny")

    before, names = colourful({}), [f.name for f in dataclasses.fields(View)]
    changed = {name: another(View, name, tmp_path) for name in names} | {"size": 24}  # not the run's
    stages = {
        name: topmost_change(before, colourful({f"views.{name}": value})) for name, value in changed.items()
    }

    assert stages == dict.fromkeys(names, "backbone")


def test_a_plugin_without_settings_has_an_identity(lab: Lab) -> None:
    assert identity(NoSettings()) == {}

"""What `bench show views` and `bench preview` look at is what a planned cell is trained on."""

from __future__ import annotations

import pytest
from conftest import Lab

from bench.errors import BadValue
from bench.planning.options import merge_options
from bench.planning.planner import plan
from bench.planning.views import choose_views
from bench.registry.registry import Registry

METHODS = [entry.name for entry in Registry.load().entries("methods")]
SETTINGS = (
    (),
    ("views.crop_min=0.3", "views.flip=0.5", "views.hue=0.1"),
    ("views.ops=[flip]",),
    ("views.ops=[]", "train.image_size=24"),
    ("views.size=24", "views.blur=0.5"),
    ("views.size=16",),
    ("views.size=null",),
    ("dataset.max_train=300", "train.image_size=20", "views.size=16"),
)


NEEDED_BY = {  # few clusters of images that are so few
    "deepcluster_v2": ("method.prototypes=20",),
    "swav": ("method.prototypes=20",),
}


@pytest.mark.parametrize("settings", SETTINGS, ids=" ".join)
@pytest.mark.parametrize("method", METHODS)
def test_the_views_that_are_shown_are_those_of_the_planned_cell(
    probing: Lab, method: str, settings: tuple[str, ...]
) -> None:
    backbone = "test_vit" if method == "mae" else "tiny"  # one that has patches
    if method == "npid" and "views.ops=[flip]" in settings:  # it mirrors nothing by itself
        settings = (*settings, "views.flip=0.5")
    settings = (*settings, *NEEDED_BY.get(method, ()))
    options = merge_options(None, {"method": (method,), "backbone": (backbone,), "set": settings})
    shown = choose_views(options, probing.registry, probing.datasets, open_data=False).views
    cell, *_ = plan(options.request("float32"), probing.registry, probing.datasets)

    assert shown.applied == cell.views
    assert shown.image_size == cell.image_size
    assert bool(shown.applied) == (cell.training is not None)


# ---- sizes


def test_a_backbone_that_cannot_take_a_views_size_is_skipped_with_its_reason(probing: Lab) -> None:
    cells = probing.plan({"views.size": 24}, method="probe", backbone=("tiny", "rigid"))

    assert {cell.backbone.name: cell.skip for cell in cells} == {
        "tiny": None,
        "rigid": "rigid takes 16 px only, a view has 24. Leave views.size out.",
    }


def test_where_no_backbone_can_take_the_size_the_reason_is_the_error(probing: Lab) -> None:
    with pytest.raises(BadValue, match=r"^rigid takes 16 px only, a view has 24"):
        probing.plan({"views.size": 24}, method="probe", backbone="rigid")


def test_a_network_says_itself_which_sizes_it_can_take(probing: Lab) -> None:
    small, large = probing.plan({"views.size": (8, 24)}, method="probe", backbone="tiny")

    assert small.skip == "tiny needs 16 px, the images have 8. Set --image-size."
    assert large.skip is None


@pytest.mark.parametrize("size", [None, 16])
def test_the_runs_own_size_can_be_taken_by_every_backbone_and_moves_no_key(
    probing: Lab, size: int | None
) -> None:
    (before,) = probing.plan(method="probe", backbone="rigid")
    (after,) = probing.plan({"views.size": (size,)}, method="probe", backbone="rigid")

    assert after.skip is None
    assert after.keys == before.keys
    assert after.views == before.views


def test_what_trains_nothing_has_no_view_that_a_backbone_could_refuse(probing: Lab) -> None:
    (cell,) = probing.plan({"views.size": 24}, method="random", backbone="rigid")

    assert cell.skip is None


def test_another_size_is_another_training(probing: Lab) -> None:
    (before,) = probing.plan(method="probe", backbone="tiny")
    (after,) = probing.plan({"views.size": 24}, method="probe", backbone="tiny")

    assert [view.size for view in after.views] == [24]
    assert after.image_size == before.image_size == 16
    assert after.keys.backbone != before.keys.backbone

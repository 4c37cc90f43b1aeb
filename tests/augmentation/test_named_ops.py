"""`views.ops` and the other settings of views: folded into each view, and so into the key."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from conftest import Lab
from made_records import cells as table_cells
from made_records import make

from bench.augmentation.apply import augment
from bench.augmentation.clean import resize
from bench.augmentation.named_ops import IN_ORDER, NAMES, changed_views
from bench.augmentation.view import View
from bench.errors import BadValue, UnknownName
from bench.planning.cells import Cell
from bench.planning.grid_file import read_grid
from bench.planning.options import AXES, RUNTIME, TRAINING, read_options
from bench.reporting.table import table

CLEAN = {"crop_min": 1, "crop_max": 1, "crop_ratio": 1, "flip": 0, "jitter": 0, "grey": 0, "blur": 0}
EVERYTHING = View(blur=0.5, solarise=0.2, affine=0.3)


def plan_simclr(lab: Lab, settings: dict[str, Any], **asked: Any) -> list[Cell]:
    return lab.plan(settings, **{"method": "simclr", **asked})


def settings_of(*texts: str) -> dict[str, tuple[Any, ...]]:
    """Return what `--set TEXT` is read as."""
    return dict(read_options({"set": texts}, lambda name: f"--{name}").settings)


def key_of(lab: Lab, settings: dict[str, Any]) -> str:
    (cell,) = plan_simclr(lab, settings)
    return cell.keys.backbone


@pytest.mark.parametrize("kept", [(), ("crop",), ("crop", "flip"), ("jitter",), NAMES])
def test_only_the_named_operations_are_kept_as_they_were(kept: tuple[str, ...]) -> None:
    (view,) = changed_views([EVERYTHING], {"ops": kept}, "simclr")

    assert [operation.name for operation in IN_ORDER if operation.is_on(view)] == [
        name for name in NAMES if name in kept
    ]
    assert all(
        getattr(view, field) == getattr(EVERYTHING, field)
        for operation in IN_ORDER
        if operation.name in kept
        for field in operation.off
    )


def test_without_any_operation_a_view_is_the_image() -> None:
    (view,) = changed_views([EVERYTHING], {"ops": []}, "simclr")
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)

    assert torch.equal(augment(images, view, 32, torch.Generator()), resize(images, 32))


def test_null_is_the_whole_recipe() -> None:
    assert changed_views([EVERYTHING], {"ops": None}, "simclr") == (EVERYTHING,)


def test_what_differs_between_views_still_does_when_one_field_is_set_for_all() -> None:
    own = (View(blur=1.0, solarise=0.0), View(blur=0.1, solarise=0.2))
    changed = changed_views(own, {"jitter": 0}, "byol")

    assert changed == tuple(replace(view, jitter=0.0) for view in own)


def test_an_operation_that_one_view_has_is_kept_in_that_view_only() -> None:
    own = (View(blur=1.0), View(solarise=0.2))
    first, second = changed_views(own, {"ops": ["solarise"]}, "byol")

    assert (first.solarise, second.solarise) == (0.0, 0.2)
    assert (first.blur, second.crop_min, second.jitter) == (0.0, 1.0, 0.0)


def test_ops_and_the_same_probabilities_one_by_one_have_one_key(lab: Lab) -> None:
    one_by_one = {f"views.{name}": value for name, value in CLEAN.items() if not name.startswith("crop")}

    assert key_of(lab, {"views.ops": ["crop"]}) == key_of(lab, one_by_one)
    assert key_of(lab, {"views.ops": []}) == key_of(lab, {f"views.{n}": v for n, v in CLEAN.items()})
    assert key_of(lab, {"views.ops": ["jitter", "crop"]}) == key_of(lab, {"views.ops": ["crop", "jitter"]})
    assert key_of(lab, {"views.ops": ["crop"]}) != key_of(lab, {})
    assert key_of(lab, {"views.ops": ([*NAMES[1:5]],)}) == key_of(lab, {})


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("views.jitter=0,0.8", [0.0, 0.8]),
        ("views.blur=0,0.5", [0.0, 0.5]),
        ("views.crop_min=0.08,0.2,0.5", [0.08, 0.2, 0.5]),
    ],
)
def test_a_field_of_the_views_is_an_axis(lab: Lab, text: str, values: list[float]) -> None:
    cells = plan_simclr(lab, settings_of(text))
    name = text.partition("=")[0].removeprefix("views.")

    assert [tuple(getattr(view, name) for view in cell.views) for cell in cells] == [
        (value, value) for value in values
    ]
    assert len({cell.keys.backbone for cell in cells}) == len(values)


def test_ops_are_an_axis_on_the_command_line_and_in_a_grid_file(lab: Lab, tmp_path: Any) -> None:
    typed = settings_of("views.ops=[crop],[crop,jitter],[]")
    path = tmp_path / "grid.yaml"
    path.write_text("set:\n  views.ops: [[crop], [crop, jitter], []]\n", encoding="utf-8")
    written = read_grid(path, (*AXES, *TRAINING, *RUNTIME, "set"))
    cells = plan_simclr(lab, typed)

    assert typed == read_options(written, str).settings
    assert [cell.settings["views.ops"] for cell in cells] == [["crop"], ["crop", "jitter"], []]
    assert len({cell.keys.score for cell in cells}) == 3


def test_what_trains_nothing_is_there_once_and_does_not_say_ops(lab: Lab) -> None:
    (cell,) = lab.plan(settings_of("views.ops=[crop],[crop,jitter]"), method="random")

    assert "views.ops" not in cell.settings


def test_an_operation_that_would_change_labels_may_be_named(lab: Lab) -> None:
    (cell,) = plan_simclr(lab, {"views.ops": ["crop", "flip", "grey"]})

    assert (cell.views[0].flip, cell.views[0].grey, cell.views[0].crop_min) == (0.0, 0.0, 0.08)


@pytest.mark.parametrize(
    ("ops", "error", "message"),
    [
        (
            ["crop", "blur"],
            BadValue,
            r"blur is named, but it is off in the views of simclr\..* views.blur=0.5",
        ),
        (
            ["crop", "jiter"],
            UnknownName,
            r"no operation is named 'jiter'. Did you mean 'jitter'\? Known: affine",
        ),
        (["crop", 3], UnknownName, "no operation is named 3"),
        (["crop", "crop"], BadValue, "'crop' is named twice"),
        ("crop", BadValue, r"'crop' is not a list. Write it in brackets: views.ops=\[crop\]"),
        ({"crop": 1}, BadValue, "is not a list"),
    ],
)
def test_ops_that_mean_nothing_are_refused(lab: Lab, ops: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"views.ops: .*{message}") as caught:
        plan_simclr(lab, {"views.ops": ops})

    assert "\n" not in str(caught.value)


def test_an_operation_that_is_off_can_be_named_if_it_is_switched_on(lab: Lab) -> None:
    with_blur, without = plan_simclr(lab, settings_of("views.ops=[crop,blur],[crop]", "views.blur=0.5"))

    assert (with_blur.views[0].blur, without.views[0].blur) == (0.5, 0.0)
    assert without.keys.backbone == key_of(lab, {"views.ops": ["crop"]})


def test_a_misspelt_field_is_answered_with_ops_too(lab: Lab) -> None:
    with pytest.raises(UnknownName, match=r"no setting named 'op'.*'ops'"):
        plan_simclr(lab, {"views.op": ["crop"]})


def records(cells: list[Cell]) -> list[dict[str, Any]]:
    """Return records of cells that were not run."""
    return [
        make(
            settings=dict(cell.settings),
            config={"views": [vars(view) for view in cell.views]},
            keys={"score": cell.keys.score},
            value=70.0 + number,
            seed=cell.seed,
        )
        for number, cell in enumerate(cells)
    ]


def test_a_table_has_a_row_for_each_value_of_ops(lab: Lab) -> None:
    text = table(records(plan_simclr(lab, settings_of("views.ops=[crop],[crop,jitter],[]"), seed=(0, 1))))

    assert table_cells(text)[0] == ["views.ops", "top1"]
    assert sorted(row[0] for row in table_cells(text)[1:]) == ["[]", "crop", "crop,jitter"]
    assert "n=2" in text


def test_ops_and_a_probability_that_only_some_of_them_have_are_one_axis(lab: Lab) -> None:
    text = table(records(plan_simclr(lab, settings_of("views.ops=[crop],[crop,blur]", "views.blur=0.5"))))

    assert table_cells(text)[0] == ["views.ops", "top1"]
    assert sorted(row[0] for row in table_cells(text)[1:]) == ["crop", "crop,blur"]

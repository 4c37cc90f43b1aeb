"""From a request to cells: which there are, in which order, and what is refused."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import pytest
from conftest import Lab

from bench.errors import BadData, BadValue, UnknownName
from bench.planning.cells import Cell


def tags(cells: list[Cell], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(cell.names[name] for name in names) for cell in cells]


def check_refused(lab: Lab, error: type[Exception], message: str, *args: Any, **axes: Any) -> None:
    with pytest.raises(error, match=message) as caught:
        lab.plan(*args, **axes)

    assert "\n" not in str(caught.value)


def test_every_combination_is_one_cell_in_the_order_of_the_axes(lab: Lab) -> None:
    cells = lab.plan(method=("simclr", "random"), evaluator=("knn", "linear"), label_frac=(0.5, 1.0))

    assert tags(cells, "method", "evaluator", "label_frac") == [
        (method, evaluator, fraction)
        for method in ("simclr", "random")
        for evaluator in ("knn", "linear")
        for fraction in (0.5, 1.0)
    ]


def test_cells_of_one_backbone_are_together_whatever_the_axes(lab: Lab) -> None:
    cells = lab.plan({"knn.k": (1, 2), "method.temperature": (0.1, 0.2)}, method=("simclr", "random"))
    runs = [key for key, _ in groupby(cell.keys.backbone for cell in cells)]

    assert len(runs) == len(set(runs)) == 3
    assert len(cells) == 6


def test_a_cell_that_a_setting_does_not_change_is_there_once(lab: Lab) -> None:
    cells = lab.plan({"knn.k": (1, 2)}, evaluator=("knn", "linear"))

    assert [(cell.evaluator.name, dict(cell.settings).get("knn.k")) for cell in cells] == [
        ("knn", 1),
        ("linear", None),
        ("knn", 2),
    ]


def test_a_cell_has_the_settings_that_shape_it(lab: Lab) -> None:
    settings = {"method.temperature": 0.1, "knn.k": 3, "views.crop_min": 0.5, "train.lr": 0.2}
    simclr, random = lab.plan(settings, method=("simclr", "random"))

    assert set(simclr.settings) - set(random.settings) == {
        *("method.temperature", "views.crop_min"),
        *("train.lr", "train.epochs", "train.batch_size"),
    }
    assert set(random.settings) == {"dataset.max_train", "train.image_size", "knn.k"}


def test_a_setting_by_name_goes_before_one_by_role(lab: Lab) -> None:
    settings = {"simclr.temperature": 0.2, "method.temperature": 0.3}
    (cell,) = lab.plan(settings, method="simclr")

    assert cell.method.config.temperature == 0.2


def test_a_setting_reaches_only_the_methods_that_have_it(lab: Lab) -> None:
    simclr, vicreg = lab.plan({"method.temperature": 0.3}, method=("simclr", "vicreg"))

    assert simclr.method.config.temperature == 0.3
    assert not hasattr(vicreg.method.config, "temperature")
    assert "method.temperature" not in vicreg.settings


def test_evaluation_is_on_what_was_trained_on_with_its_settings(lab: Lab) -> None:
    (cell,) = lab.plan({"dataset.max_train": 40})

    assert cell.eval_dataset is cell.dataset
    assert cell.eval_dataset.config.max_train == 40


def test_settings_of_the_evaluation_data_are_not_trained_on(lab: Lab) -> None:
    (cell,) = lab.plan({"dataset.max_train": 40, "eval_dataset.max_train": 30})

    assert (cell.dataset.config.max_train, cell.eval_dataset.config.max_train) == (40, 30)


def test_images_smaller_than_16_pixels_are_enlarged(lab: Lab, probing: Lab) -> None:
    (cell,) = probing.plan({"train.image_size": None}, backbone="tiny")

    assert cell.image_size == 16


def test_views_leave_out_what_changes_a_label(lab: Lab) -> None:
    (cell,) = lab.plan({"views.flip": 0.5, "views.grey": 0.2}, method="simclr")

    assert [(view.flip, view.grey, view.hue) for view in cell.views] == [(0, 0, 0)] * 2


def test_what_trains_nothing_has_no_training_and_no_views(lab: Lab) -> None:
    (cell,) = lab.plan(method="random")

    assert (cell.training, cell.views) == (None, ())


def test_a_combination_that_cannot_work_is_a_cell_to_skip(probing: Lab) -> None:
    small, large = probing.plan({"train.image_size": (8, 16)}, backbone="tiny")

    assert small.skip == "tiny needs 16 px, the images have 8. Set --image-size."
    assert large.skip is None


def test_one_combination_that_cannot_work_is_a_usage_error(probing: Lab) -> None:
    check_refused(probing, BadValue, "^tiny needs 16 px", {"train.image_size": 8}, backbone="tiny")


def test_a_root_that_is_a_number_is_a_folder_that_is_not_there(lab: Lab) -> None:
    check_refused(lab, BadData, "2020", {"dataset.root": 2020}, dataset="image_folder")


@pytest.mark.parametrize(
    ("error", "message", "settings", "axes"),
    [
        (BadValue, "a step takes 64 images, but digits has 48 to train on. Set --batch-size",
         {"train.batch_size": 64}, {"method": "simclr"}),
        (BadValue, "k is 21, but there are 20 training features", {"knn.k": 21}, {"label_frac": 0.5}),
        (BadValue, "evaluator: none was named", {}, {"evaluator": ()}),
        (BadValue, "label-frac: 0 is out of range", {}, {"label_frac": 0.0}),
        (BadValue, "label-frac: nan is out of range", {}, {"label_frac": float("nan")}),
        (BadValue, "'epochs' is not PART.FIELD=VALUE", {"epochs": 3}, {}),
        (UnknownName, "'metod'. Did you mean 'method'", {"metod.temperature": 3}, {}),
        (UnknownName, "'random' has nothing to set|It has nothing to set", {"method.temperature": 3}, {}),
        (UnknownName, "'epoch'.* Did you mean 'epochs'", {"train.epoch": 3}, {}),
        (UnknownName, "'crop'", {"views.crop": 3}, {"method": "simclr"}),
        (UnknownName, "no method is named 'simcl'", {}, {"method": "simcl"}),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused_before_any_training(
    lab: Lab, error: type[Exception], message: str, settings: dict[str, Any], axes: dict[str, Any]
) -> None:
    check_refused(lab, error, message, settings, **axes)


def test_labels_are_needed_where_a_method_uses_them(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    digits = lab.registry.load_class("datasets", "digits")
    monkeypatch.setattr(digits, "labels", lambda _self, split: [-1] * 90 if split == "train" else [0] * 90)

    check_refused(lab, BadValue, "^supervised: it needs labels, but no image of dig", method="supervised")


def test_images_without_a_label_are_left_out_where_a_method_uses_labels(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    digits = lab.registry.load_class("datasets", "digits")
    some = [*range(10)] * 9
    monkeypatch.setattr(digits, "labels", lambda _self, split: [-1] * 10 * (split == "train") + some)
    supervised, simclr = lab.plan(method=("supervised", "simclr"))

    assert supervised.label_count == 90
    assert supervised.steps == simclr.steps


def test_progress_names_the_settings_that_differ_between_cells(lab: Lab) -> None:
    settings = {"views.crop_min": (0.1, 0.2), "knn.k": (1, 2), "simclr.temperature": 0.3}
    cells = lab.plan(settings, method="simclr", eval_dataset="digits", label_frac=0.5)

    assert cells[0].training_title == "simclr test_resnet digits views.crop_min=0.1 seed 0"
    assert [cell.title for cell in cells[:2]] == [
        "simclr test_resnet digits views.crop_min=0.1 seed 0 knn knn.k=1 50 %",
        "simclr test_resnet digits views.crop_min=0.1 seed 0 knn knn.k=2 50 %",
    ]
    assert lab.plan(method="random")[0].title == "random test_resnet digits seed 0 knn 100 %"

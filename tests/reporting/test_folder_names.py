"""A folder is meant by its own name, and by that of its plugin: wherever records are chosen or renamed."""

from __future__ import annotations

from typing import Any

import pytest
from made_records import caption, cells, make

from bench.cli.ranking import select
from bench.errors import BadValue, UnknownName
from bench.reporting.compared_rows import compare_rows
from bench.reporting.naming import Names
from bench.reporting.presentation import Presentation
from bench.reporting.selection import parse_conditions, select_records
from bench.reporting.table import table


def of_folder(title: str, value: float = 70.0, method: str = "simclr", **changes: Any) -> dict[str, Any]:
    record = make(method, value, dataset="image_folder", **changes)
    record["cell"]["dataset_name"] = title
    record["contents"] = {"dataset": f"content of {title}"}
    return record


def grid() -> list[dict[str, Any]]:
    return [of_folder("photos"), of_folder("garden", 60.0), make(dataset="digits")]


def titles(records: Any) -> list[str]:
    return [record["cell"].get("dataset_name", record["cell"]["dataset"]) for record in records]


@pytest.mark.parametrize(
    ("condition", "chosen"),
    [
        ("dataset=photos", ["photos"]),
        ("dataset=image_folder", ["photos", "garden"]),
        ("eval_dataset=image_folder", ["photos", "garden"]),
        ("dataset=image_folder|digits", ["photos", "garden", "digits"]),
    ],
)
def test_records_are_chosen_by_folder_and_by_plugin(condition: str, chosen: list[str]) -> None:
    assert titles(select_records(grid(), parse_conditions([condition]))) == chosen


def test_a_plugin_is_no_name_on_another_axis() -> None:
    with pytest.raises(UnknownName, match=r"^--where: no record has method 'image_folder'\."):
        select_records(grid(), parse_conditions(["method=image_folder"]))


def test_a_row_is_named_by_folder_and_by_plugin() -> None:
    records = [of_folder("photos"), make(dataset="digits", value=60.0)]
    found = [
        compare_rows(records, f"dataset={name}", "dataset=digits").names
        for name in ("photos", "image_folder")
    ]

    assert found[0] == found[1] == ("simclr/resnet18,dataset=photos", "simclr/resnet18,dataset=digits")
    with pytest.raises(BadValue, match=r"^compare: 'dataset=image_folder' is 2 rows"):
        compare_rows([*records, of_folder("garden")], "dataset=image_folder", "dataset=digits")


def test_data_sets_are_ranked_by_folder_and_by_plugin() -> None:
    def ranked(*names: str) -> list[str]:
        return titles(select(grid(), {"eval": (), "dataset": names, "label_frac": ()}))

    assert ranked("garden") == ["garden"]
    assert ranked("image_folder") == ["photos", "garden"]
    with pytest.raises(UnknownName, match=r"^--dataset: no record has pebbles\."):
        ranked("pebbles")


def test_a_name_that_is_given_to_a_plugin_is_that_of_its_folder() -> None:
    named = Presentation(names=Names(image_folder="CIFAR-10"), required=("image_folder",))
    one = table([of_folder("photos"), make(dataset="digits")], presentation=named)
    (head, *_) = cells(table([of_folder("photos"), make("vicreg", dataset="digits")], presentation=named))

    assert "photos" not in one
    assert any("CIFAR-10" in heading for heading in head)
    assert "CIFAR-10" in caption(table([of_folder("photos")], presentation=named))
    with pytest.raises(UnknownName, match=r"^--name: nothing in the table is named 'image_folder'\."):
        table(grid(), presentation=named)

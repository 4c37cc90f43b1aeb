"""`bench table --reference`: the nearest published result beside ours."""

from __future__ import annotations

from typing import Any

import pytest
from made_records import cells, make, tidy

from bench.published.results import PublishedResult
from bench.reporting.naming import Names
from bench.reporting.presentation import Presentation
from bench.reporting.table import build_table, table

LINEAR = {"evaluator": "linear", "dataset": "cifar10"}


def published(method: str = "simclr", top1: float = 90.5, **changes: Any) -> PublishedResult:
    usual: dict[str, Any] = {
        "published": method.upper(), "method": method, "dataset": "cifar10", "source": "a paper",
        "backbone": "ResNet18 (CIFAR stem)", "epochs": 1000, "batch_size": None, "evaluator": "linear",
        "top1": top1,
    }  # fmt: skip
    return PublishedResult(**(usual | changes))


def beside(*results: PublishedResult, **shown: Any) -> Presentation:
    return Presentation(published=results, **shown)


def test_a_published_result_is_a_column_beside_ours_with_source_and_differences() -> None:
    records = [make("simclr", 60.0, **LINEAR), make("vicreg", 61.0, **LINEAR)]
    text = table(records, presentation=beside(published(), published("byol")))

    assert cells(text) == [
        ["method", "top1", "published"],
        ["simclr", "60.00", "90.5 [1]"],
        ["vicreg", "**61.00**", "–"],
    ]
    assert text.splitlines()[-1] == (
        "[1] published as SIMCLR, linear: a paper. Differs: 1,000 epochs, not 100."
    )


def test_our_own_failures_are_counted_first_and_one_note_serves_several_cells() -> None:
    records = [make("simclr", 60.0, backbone=f"resnet{n}", **LINEAR) for n in (18, 50)]
    records.append(make("vicreg", status="failed", reason="boom", **LINEAR))
    other = published("simclr", 91.0, backbone="ResNet50", epochs=9)
    text = table(records, presentation=beside(published(), other))

    assert sorted(line[-1] for line in cells(text)) == ["90.5 [2]", "91 [3]", "published", "–"]
    assert "[1] failed: boom" in text


def test_only_columns_that_have_a_published_result_get_one_beside_them() -> None:
    records = [make(evaluator=name, dataset="cifar10", label_frac=share)
               for name in ("knn", "linear") for share in (0.1, 1.0)]  # fmt: skip
    header = cells(table(records, presentation=beside(published())))[0]

    assert header == [
        "method", "knn / 10 %", "knn / 100 %", "linear / 10 %", "linear / 100 %",
        "linear / 100 % / published",
    ]  # fmt: skip


def test_what_is_not_top1_has_nothing_beside_it() -> None:
    table_ = build_table([make(**LINEAR)], metric="nll,top1", presentation=beside(published()))

    assert [column.heading for column in table_.columns] == ["nll", "top1", "top1 / published"]


def test_a_folder_of_images_is_looked_up_by_the_name_that_it_is_given() -> None:
    records = [make("mine", evaluator="linear", dataset="image_folder")]
    names = Names(image_folder="CIFAR-10", mine="simclr")

    assert cells(table(records, presentation=beside(published(), names=names)))[1][-1] == "90.5 [1]"
    assert "published" not in cells(table(records, presentation=beside(published())))[0]


def test_where_nothing_is_published_the_caption_says_so() -> None:
    text = table([make("mine", **LINEAR)], presentation=beside(published()))

    assert text.splitlines()[0].endswith(" Nothing is published of these methods and data sets.")


def test_transfer_is_put_beside_transfer() -> None:
    records = [make(value=v, evaluator="linear", dataset=d, eval_dataset="cifar10")
               for v, d in ((60, "cifar10"), (50, "digits"))]  # fmt: skip
    results = published(), published("simclr", 80.0, evaluator="transfer_linear")
    found = {row["dataset"]: row["mean"] for row in tidy(records, presentation=beside(*results))
             if row["status"] == "published"}  # fmt: skip

    assert found == {"cifar10": 90.5, "digits": 80.0}


def test_what_a_record_says_of_itself_is_compared() -> None:
    config = {
        "training": {"epochs": 1000, "batch_size": 512},
        "backbone": {"stem": "standard"},
        "evaluator": {"k": 20},
    }
    record = make(dataset="cifar10", config=config, protocol={"checkpoint": "best epoch", "probe": "online"})
    result = published(evaluator="knn200", batch_size=512, protocol="macro accuracy")
    (_, note) = table([record], presentation=beside(result)).rsplit("Differs: ", 1)

    assert note == (
        "the stem for small images, not the standard stem; a probe after the training; macro accuracy; "
        "no best epoch; 200 neighbours, not 20."
    )


def test_a_transposed_table_has_it_beside_ours_as_well() -> None:
    records = [make("simclr", 60.0, **LINEAR), make("vicreg", 61.0, **LINEAR)]
    shown = beside(published("vicreg"), transpose=True)

    header = cells(table(records, presentation=shown))[0]

    assert header == ["metric", "simclr", "vicreg", "vicreg / published"]


def test_tidy_formats_have_a_row_for_it() -> None:
    ours, theirs = tidy([make(value=60.0, **LINEAR)], presentation=beside(published()))

    assert (theirs["status"], theirs["mean"], theirs["n"], theirs["best"]) == ("published", 90.5, 0, False)
    assert theirs["reason"].startswith("published as SIMCLR, linear: a paper. Differs: ")
    assert ours["mean"] == 60.0


@pytest.mark.parametrize("form", ["latex", "html"])
def test_groups_of_headings_have_it_below_its_column(form: str) -> None:
    records = [make(evaluator=name, dataset="cifar10") for name in ("knn", "linear")]
    text = table(records, format=form, presentation=beside(published()))
    groups = {"latex": r"\multicolumn{2}{c}{linear}", "html": 'scope="colgroup" colspan="2">linear</th>'}

    assert groups[form] in text

from __future__ import annotations

from typing import Any

import pytest
from made_records import caption, make

from bench.reporting.table import table


def trained_with(method: str, share: float, **changes: Any) -> dict[str, Any]:
    """Return a record of a method that saw a share of the training labels."""
    return make(method, protocol={"training_labels": share}, **changes)


def test_a_method_that_saw_all_labels_is_named() -> None:
    records = [trained_with("supervised", 1, label_frac=f) for f in (0.1, 1.0)] + [trained_with("simclr", 0)]

    assert ". supervised is trained with all labels." in caption(table(records))
    assert "are trained with all labels" in caption(table([*records, trained_with("other", 1)]))
    assert "is trained with" not in caption(table([trained_with("simclr", 0), make("vicreg")]))


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (None, "supervised is trained with the share of the labels that is named in the column."),
        ("label_frac", "supervised is trained with the share of the labels that is named in the row."),
    ],
)
def test_a_method_that_saw_the_share_of_its_cell_is_named(rows: str | None, says: str) -> None:
    records = [trained_with("supervised", f, label_frac=f) for f in (0.1, 1.0)] + [make(label_frac=0.1)]

    assert says in caption(table(records, rows=rows))


def test_a_share_that_all_cells_have_is_written_as_a_number() -> None:
    assert "trained with 10 % of the labels." in caption(
        table([trained_with("supervised", 0.1, label_frac=0.1)])
    )


def test_without_a_label_fraction_the_method_saw_all_labels() -> None:
    records = [trained_with("supervised", f, label_frac=f) for f in (0.1, 1.0)]
    records += [trained_with("supervised", 1, label_frac=None, evaluator="geometry")]

    assert "named in the column, all where there is none." in caption(table(records))


def test_a_share_that_is_not_that_of_the_cell_is_not_claimed_to_be() -> None:
    assert "supervised is trained with labels." in caption(table([trained_with("supervised", 0.5)]))


def test_the_images_and_how_often_they_were_seen_are_named() -> None:
    seen = {"training_labels": 1.0, "training_images": 42, "training_passes": 1234.5}
    few = {"training_labels": 0.1, "training_images": 3, "training_passes": 17283.0}
    one = make("supervised", protocol=seen)
    both = [one, make("supervised", label_frac=0.1, protocol=few)]

    assert "trained with all labels (42 images, each seen 1,234 times)." in caption(table([one]))
    assert "in the column (3 to 42 images, each seen 1,234 to 17,283 times)." in caption(table(both))


def test_a_readout_for_which_nothing_could_be_chosen_is_named() -> None:
    why = "nothing: the backbone was trained with these labels"
    records = [
        make(
            "supervised", protocol={"training_labels": 1.0, "selected_on": why, "selected_split": "nothing"}
        ),
        make("simclr", protocol={"training_labels": 0.0, "selected_on": "5-fold cross-validation"}),
    ]
    says = "Readouts of supervised have their defaults: nothing can be chosen on labels that a backbone saw."

    assert says in caption(table(records))
    assert "their defaults" not in caption(table([trained_with("supervised", 1), *records[1:]]))

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from made_records import caption, cells, make, tidy

from bench.cli.main import main
from bench.errors import UsageError
from bench.reporting.table import table
from bench.storage.records import RecordStore

TUNED = {"features": "fine-tuned", "selected_split": "train"}


def told(evaluator: str = "knn", protocol: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    return make(evaluator=evaluator, protocol=protocol or {}, **changes)


def test_two_protocols_in_one_column_are_refused_in_one_line() -> None:
    linear = told("linear", {"features": "frozen", "selected_split": "train"})
    records = [linear, told("finetune", TUNED)]

    with pytest.raises(UsageError) as refusal:
        table(records, cols="dataset")
    assert str(refusal.value) == (
        'table: the column "digits" mixes two protocols: '
        "frozen, offline, last epoch, chosen on held-out training labels (linear); "
        "fine-tuned, offline, last epoch, chosen on held-out training labels (finetune). "
        "Put evaluator into --cols, or use --mix-protocols."
    )
    assert cells(table(records))[0] == ["method", "linear", "finetune"]


def test_mixed_protocols_are_told_once_in_the_caption() -> None:
    records = [told(e, p, dataset=d) for d in "ab" for e, p in (("knn", {}), ("finetune", TUNED))]
    text = table(records, cols="dataset", mix_protocols=True)

    assert cells(text)[1:] == [["knn", "70.00", "70.00"], ["finetune", "70.00", "70.00"]]
    assert text.count("Columns mix two protocols: frozen, offline, last epoch (knn); fine-tuned, ") == 1
    assert text.count("fine-tuned") == 1
    assert "protocol" not in table(records, mix_protocols=True)


def test_the_command_refuses_with_status_2_and_mixes_when_told_to(tmp_path: Path) -> None:
    for record in (told("knn"), told("finetune", TUNED)):
        RecordStore(tmp_path).write(record)
    asked = ["table", "--results", str(tmp_path), "--cols", "dataset"]
    refused, mixed = (CliRunner().invoke(main, [*asked, *more]) for more in ([], ["--mix-protocols"]))

    assert refused.exit_code == 2
    assert refused.stdout == ""
    assert refused.stderr.startswith('Error: table: the column "digits" mixes two protocols: ')
    assert len(refused.stderr.splitlines()) == 1
    assert mixed.exit_code == 0
    assert "mixes two protocols" in caption(mixed.stdout)


def test_one_mixed_column_is_told_as_one() -> None:
    records = [told("knn"), told("finetune", TUNED), told("knn", dataset="other")]

    assert "A column mixes two" in caption(table(records, cols="dataset", mix_protocols=True))


@pytest.mark.parametrize(
    "other",
    [{"probe": "online"}, {"checkpoint": "best on val"}, {"features": "fine-tuned"}],
)
def test_a_record_without_tags_is_frozen_offline_and_of_the_last_epoch(other: dict[str, str]) -> None:
    usual = {"features": "frozen", "probe": "offline", "checkpoint": "last epoch"}
    older = {name: part for name, part in make("older").items() if name != "protocol"}

    assert len(cells(table([told(protocol=usual), older], rows="method"))) == 3
    with pytest.raises(UsageError, match=next(iter(other.values()))):
        table([told(protocol=other), older], rows="method")


@pytest.mark.parametrize("loose", [{}, {"selected_split": None}, {"selected_split": "nothing"}])
@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_what_chose_nothing_stands_beside_any_choice(loose: dict[str, Any], split: str) -> None:
    records = [told("knn", loose), told("linear", {"selected_split": split})]

    assert len(cells(table(records, cols="dataset"))) == 3
    assert len(cells(table(records[::-1], cols="dataset"))) == 3


def test_choices_on_two_splits_are_two_protocols_whatever_stands_between() -> None:
    records = [told("a", {"selected_split": "val"}), told("b"), told("c", {"selected_split": "test"})]
    says = r"own validation split \(a, b\); .* chosen on the test split \(c\)"

    with pytest.raises(UsageError, match=says):
        table(records, cols="dataset")


def test_an_axis_that_keeps_them_apart_is_named() -> None:
    records = [
        told("linear", {"selected_split": split}, label_frac=f) for f, split in ((0.1, "train"), (1.0, "val"))
    ]

    assert cells(table(records))[0] == ["method", "10 %", "100 %"]
    with pytest.raises(UsageError, match=r"\(10 %\); .*\(100 %\)\. Put label_frac into --cols, or use"):
        table(records, rows="label_frac")


def test_where_no_axis_keeps_them_apart_only_mixing_is_offered() -> None:
    records = [told(seed=0), told(protocol=TUNED, seed=1)]

    with pytest.raises(UsageError, match=r"\(knn\); .*\(knn\)\. Use --mix-protocols\.$"):
        table(records)


def test_a_cell_that_failed_has_no_protocol() -> None:
    bad = told("finetune", status="failed", reason="boom", seed=1)
    records = [told("finetune", TUNED, seed=0), bad]

    assert cells(table(records))[1] == ["simclr", "70.00 (1 of 2) [1]"]


def test_metrics_in_rows_are_columns_of_their_own() -> None:
    gap = {"gap": {"value": 1.0}}
    records = [told("linear"), told("tuned", TUNED, metrics=gap, headline="gap")]

    assert len(cells(table(records, rows="metric,evaluator", cols="dataset"))) == 3


def test_csv_and_json_name_the_protocol_of_each_row_and_refuse_nothing() -> None:
    records = [told("knn", {"selected_split": "nothing"}), told("finetune", TUNED)]
    records += [told("linear", status="failed", reason="boom")]
    rows = tidy(records, rows="evaluator", cols="dataset")
    names = ("features", "probe", "checkpoint", "selected_split")

    assert [tuple(row[name] for name in names) for row in rows] == [
        ("frozen", "offline", "last epoch", "nothing"),
        ("fine-tuned", "offline", "last epoch", "train"),
        (None, None, None, None),
    ]
    assert next(csv.DictReader(io.StringIO(table(records, format="csv"))))["features"] == "frozen"
    assert tidy([told(seed=0), told(protocol=TUNED, seed=1)])[0]["features"] == "frozen, fine-tuned"


def test_many_names_of_a_protocol_are_counted() -> None:
    records = [told(name) for name in "abcde"] + [told("finetune", TUNED)]

    with pytest.raises(UsageError, match=r"\(a, b, c and 2 more\); "):
        table(records, cols="dataset")

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

FINE_TUNED = {"features": "fine-tuned", "selected_split": "train"}


def with_protocol(
    evaluator: str = "knn", protocol: dict[str, Any] | None = None, **changes: Any
) -> dict[str, Any]:
    """Return a record of an evaluator that says `protocol` of itself."""
    return make(evaluator=evaluator, protocol=protocol or {}, **changes)


def test_two_protocols_in_one_column_are_refused_in_one_line() -> None:
    linear = with_protocol("linear", {"features": "frozen", "selected_split": "train"})
    records = [linear, with_protocol("finetune", FINE_TUNED)]

    with pytest.raises(UsageError) as refusal:
        table(records, cols="dataset")
    assert str(refusal.value) == (
        'table: the column "digits" mixes two protocols: '
        "frozen, offline, last epoch, chosen on held-out training labels (linear); "
        "fine-tuned, offline, last epoch, chosen on held-out training labels (finetune). "
        "Put evaluator into --cols, or use --mix-protocols."
    )
    assert cells(table(records))[0] == ["method", "linear", "finetune"]


def test_the_caption_says_once_which_protocols_are_mixed() -> None:
    records = [
        with_protocol(e, p, dataset=d) for d in "ab" for e, p in (("knn", {}), ("finetune", FINE_TUNED))
    ]
    text = table(records, cols="dataset", mix_protocols=True)

    assert cells(text)[1:] == [["knn", "70.00", "70.00"], ["finetune", "70.00", "70.00"]]
    assert text.count("Columns mix two protocols: frozen, offline, last epoch (knn); fine-tuned, ") == 1
    assert text.count("fine-tuned") == 1
    assert "protocol" not in table(records, mix_protocols=True)


def test_the_command_refuses_with_status_2_unless_mix_protocols_is_set(tmp_path: Path) -> None:
    for record in (with_protocol("knn"), with_protocol("finetune", FINE_TUNED)):
        RecordStore(tmp_path).write(record)
    command = ["table", "--results", str(tmp_path), "--cols", "dataset"]
    refused, mixed = (CliRunner().invoke(main, [*command, *more]) for more in ([], ["--mix-protocols"]))

    assert refused.exit_code == 2
    assert refused.stdout == ""
    assert refused.stderr.startswith('Error: table: the column "digits" mixes two protocols: ')
    assert len(refused.stderr.splitlines()) == 1
    assert mixed.exit_code == 0
    assert "mixes two protocols" in caption(mixed.stdout)


def test_the_caption_counts_one_mixed_column_as_one() -> None:
    records = [
        with_protocol("knn"),
        with_protocol("finetune", FINE_TUNED),
        with_protocol("knn", dataset="other"),
    ]

    assert "A column mixes two" in caption(table(records, cols="dataset", mix_protocols=True))


@pytest.mark.parametrize(
    "other",
    [{"probe": "online"}, {"checkpoint": "best on val"}, {"features": "fine-tuned"}],
)
def test_a_record_without_tags_is_frozen_offline_and_of_the_last_epoch(other: dict[str, str]) -> None:
    usual = {"features": "frozen", "probe": "offline", "checkpoint": "last epoch"}
    older = {name: part for name, part in make("older").items() if name != "protocol"}

    assert len(cells(table([with_protocol(protocol=usual), older], rows="method"))) == 3
    with pytest.raises(UsageError, match=next(iter(other.values()))):
        table([with_protocol(protocol=other), older], rows="method")


@pytest.mark.parametrize("unselected", [{}, {"selected_split": None}, {"selected_split": "nothing"}])
@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_an_evaluator_that_chose_nothing_stands_beside_any_choice(
    unselected: dict[str, Any], split: str
) -> None:
    records = [with_protocol("knn", unselected), with_protocol("linear", {"selected_split": split})]

    assert len(cells(table(records, cols="dataset"))) == 3
    assert len(cells(table(records[::-1], cols="dataset"))) == 3


def test_choices_on_two_splits_are_two_protocols_whatever_stands_between() -> None:
    records = [
        with_protocol("a", {"selected_split": "val"}),
        with_protocol("b"),
        with_protocol("c", {"selected_split": "test"}),
    ]
    says = r"own validation split \(a, b\); .* chosen on the test split \(c\)"

    with pytest.raises(UsageError, match=says):
        table(records, cols="dataset")


def test_an_axis_that_keeps_them_apart_is_named() -> None:
    records = [
        with_protocol("linear", {"selected_split": split}, label_frac=f)
        for f, split in ((0.1, "train"), (1.0, "val"))
    ]

    assert cells(table(records))[0] == ["method", "10 %", "100 %"]
    with pytest.raises(UsageError, match=r"\(10 %\); .*\(100 %\)\. Put label_frac into --cols, or use"):
        table(records, rows="label_frac")


def test_where_no_axis_keeps_them_apart_only_mixing_is_offered() -> None:
    records = [with_protocol(seed=0), with_protocol(protocol=FINE_TUNED, seed=1)]

    with pytest.raises(UsageError, match=r"\(knn\); .*\(knn\)\. Use --mix-protocols\.$"):
        table(records)


def test_a_cell_that_failed_has_no_protocol() -> None:
    failed = with_protocol("finetune", status="failed", reason="boom", seed=1)
    records = [with_protocol("finetune", FINE_TUNED, seed=0), failed]

    assert cells(table(records))[1] == ["simclr", "70.00 (1 of 2) [1]"]


def test_metrics_in_rows_are_columns_of_their_own() -> None:
    metrics = {"gap": {"value": 1.0}}
    records = [with_protocol("linear"), with_protocol("tuned", FINE_TUNED, metrics=metrics, headline="gap")]

    assert len(cells(table(records, rows="metric,evaluator", cols="dataset"))) == 3


def test_csv_and_json_name_the_protocol_of_each_row_and_refuse_nothing() -> None:
    records = [with_protocol("knn", {"selected_split": "nothing"}), with_protocol("finetune", FINE_TUNED)]
    records += [with_protocol("linear", status="failed", reason="boom")]
    rows = tidy(records, rows="evaluator", cols="dataset")
    names = ("features", "probe", "checkpoint", "selected_split")

    assert [tuple(row[name] for name in names) for row in rows] == [
        ("frozen", "offline", "last epoch", "nothing"),
        ("fine-tuned", "offline", "last epoch", "train"),
        (None, None, None, None),
    ]
    assert next(csv.DictReader(io.StringIO(table(records, format="csv"))))["features"] == "frozen"
    assert (
        tidy([with_protocol(seed=0), with_protocol(protocol=FINE_TUNED, seed=1)])[0]["features"]
        == "frozen, fine-tuned"
    )


def test_a_protocol_of_many_evaluators_names_three_and_counts_the_rest() -> None:
    records = [with_protocol(name) for name in "abcde"] + [with_protocol("finetune", FINE_TUNED)]

    with pytest.raises(UsageError, match=r"\(a, b, c and 2 more\); "):
        table(records, cols="dataset")

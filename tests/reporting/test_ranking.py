"""Rankings are of complete blocks, name what they leave out, and say what the data sets support."""

from __future__ import annotations

import csv
import io
import json
import math

import numpy as np
import pytest
from made_blocks import grid
from made_records import make
from scipy import stats

from bench.errors import UsageError
from bench.reporting.blocks import Block, gather_blocks
from bench.reporting.ranking import Ranking, rank, why_not
from bench.reporting.ranking_output import write_csv, write_json, write_text

REFERENCES = ("random", "supervised")
THREE = {"a": 70.0, "b": 60.0, "c": 50.0}


def only(records: list[dict[str, object]], **options: object) -> Block:
    (block,) = gather_blocks(records, references=REFERENCES, metric="top1", **options)  # type: ignore[arg-type]
    return block


def ranked(records: list[dict[str, object]]) -> Ranking:
    return rank(only(records), REFERENCES)


def test_each_method_is_ranked_on_the_mean_of_its_seeds() -> None:
    records = grid(THREE, 4)
    for record in records:
        if record["cell"]["method"] == "c" and record["cell"]["dataset"] == "d0":
            record["metrics"]["top1"]["value"] += 300 * (record["cell"]["seed"] == 0) - 100
    ranking = ranked(records)

    assert [entrant.label for entrant in ranking.entrants] == ["a", "b", "c"]
    assert ranking.ranks == (1.25, 2.25, 2.5)


def test_references_set_the_scale_and_are_not_ranked() -> None:
    ranking = ranked(grid(THREE, 4))

    assert {entrant.method for entrant in ranking.entrants} == set(THREE)
    assert ranking.aggregates[0].mean == pytest.approx((70 - 20) / (90 - 20))
    assert ranking.scaled == ("d0", "d1", "d2", "d3")


def test_the_scale_is_that_of_the_same_backbone() -> None:
    records = grid(THREE, 3)
    others = [one | {"cell": {**one["cell"], "backbone": "vit"}} for one in grid({"a": 55.0}, 3)]
    for one in others:
        one["metrics"] = {"top1": {**one["metrics"]["top1"]}}
        if one["cell"]["method"] == "random":
            one["metrics"]["top1"]["value"] += 20
    ranking = ranked([*records, *others])
    by_label = dict(zip([e.label for e in ranking.entrants], ranking.aggregates, strict=True))

    assert by_label["a vit"].mean == pytest.approx((55 - 40) / (90 - 40))
    assert by_label["a resnet18"].mean == pytest.approx((70 - 20) / (90 - 20))


def test_a_reference_of_another_backbone_is_none() -> None:
    records = grid(THREE, 3)
    records += [
        one | {"cell": {**one["cell"], "backbone": "vit"}} for one in grid({"a": 55.0}, 3, references=False)
    ]
    ranking = ranked(records)

    assert ranking.scaled == ()
    assert ranking.aggregates == ()
    assert "Not normalised, and so in no IQM: d0, d1 and d2 (no one score of random there)" in ranking.remarks


def test_a_reference_that_is_no_better_or_not_there_leaves_its_data_set_out_by_name() -> None:
    records = grid(THREE, 4)
    records = [r for r in records if (r["cell"]["method"], r["cell"]["dataset"]) != ("random", "d3")]
    for record in records:
        if (record["cell"]["method"], record["cell"]["dataset"]) == ("supervised", "d1"):
            record["metrics"]["top1"]["value"] = 1.0
    ranking = ranked(records)

    assert ranking.scaled == ("d0", "d2")
    assert (
        "Not normalised, and so in no IQM: d1 (supervised is no better than random there)" in ranking.remarks
    )
    assert "Not normalised, and so in no IQM: d3 (no one score of random there)" in ranking.remarks


@pytest.mark.parametrize(("method", "dataset"), [("b", "d2"), ("b", None), (None, "d2")])
def test_what_is_missing_is_left_out_by_name(method: str | None, dataset: str | None) -> None:
    records = grid({**THREE, "e": 30.0}, 4)
    gone = [
        one for one in records
        if one["cell"]["method"] not in REFERENCES
        and method in (None, one["cell"]["method"]) and dataset in (None, one["cell"]["dataset"])
        and not (method is None and one["cell"]["method"] == "a")  # else there is no such data set
        and not (dataset is None and one["cell"]["dataset"] == "d0")
    ]  # fmt: skip
    block = only([one for one in records if one not in gone])
    names = {entrant.label for entrant in block.entrants}

    if method is None:
        assert block.datasets == ("d0", "d1", "d3")
        assert block.left_out == ("d2 is left out: b was not run, c was not run, e was not run",)
    else:
        assert names == {"a", "c", "e"}
        assert block.left_out[0].startswith("b is left out: ")
    assert len(block.runs) == len(names) * len(block.datasets)


def test_a_cell_that_failed_in_one_seed_or_is_not_finite_is_missing() -> None:
    records = grid({**THREE, "e": 30.0}, 4)
    for record in records:
        if (
            record["cell"]["method"] == "b"
            and record["cell"]["dataset"] == "d1"
            and record["cell"]["seed"] == 1
        ):
            record |= {"status": "failed", "metrics": {}, "reason": "boom"}
        if (
            record["cell"]["method"] == "c"
            and record["cell"]["dataset"] == "d1"
            and record["cell"]["seed"] == 1
        ):
            record["metrics"]["top1"]["value"] = math.nan

    assert only(records).left_out == ("d1 is left out: b a seed failed, c is not a finite number",)


def test_six_data_sets_cannot_tell_four_methods_apart_and_it_is_said_how_many_can() -> None:
    ranking = ranked(grid({**THREE, "e": 30.0}, 6))

    assert not any(pair.is_told_apart for pair in ranking.pairs)
    assert ranking.alike == [(0, 3)]
    assert ranking.remarks[0] == (
        "6 data sets cannot tell any two methods apart: the least p that Wilcoxon's test can have is 0.031, "
        "and Holm asks 0.0083 of 6 pairs. It takes 8 data sets at least"
    )
    assert "by Nemenyi's test two that differ by less than 1.91 are not told apart" in ranking.remarks[1]


def test_eight_data_sets_can() -> None:
    ranking = ranked(grid({**THREE, "e": 30.0}, 8))

    assert all(pair.is_told_apart for pair in ranking.pairs)
    assert ranking.alike == []
    assert not any("cannot tell" in remark for remark in ranking.remarks)


def test_holm_is_over_all_pairs_and_wilcoxon_over_data_sets() -> None:
    random = np.random.default_rng(2)
    records = grid(THREE, 9)
    for record in records:
        record["metrics"]["top1"]["value"] += random.normal(0, 8)
    ranking = ranked(records)
    pair = ranking.pairs[0]
    means = [
        [np.mean(ranking.block.runs[one, d]) for d in ranking.block.datasets] for one in ranking.entrants
    ]

    assert pair.p == pytest.approx(stats.wilcoxon(np.subtract(means[0], means[1]), method="exact").pvalue)
    assert min(one.adjusted for one in ranking.pairs) == pytest.approx(
        3 * min(one.p for one in ranking.pairs)
    )


def test_where_less_is_better_the_least_ranks_first_and_lies_nearest_to_one() -> None:
    records = grid({"a": 50.0, "b": 60.0}, 3)
    for record in records:
        if record["cell"]["method"] in REFERENCES:
            value = {"random": 90.0, "supervised": 20.0}[record["cell"]["method"]]
            record["metrics"]["nll"]["value"] = value
    (block,) = gather_blocks(records, references=REFERENCES, metric="nll")
    ranking = rank(block, REFERENCES)

    assert [entrant.label for entrant in ranking.entrants] == ["a", "b"]
    assert ranking.pairs[0].improvement == 1
    assert 1 > ranking.aggregates[0].mean > ranking.aggregates[1].mean > 0


def test_one_seed_has_no_interval_and_it_is_said() -> None:
    ranking = ranked(grid(THREE, 3, seeds=(0,)))

    assert ranking.aggregates[0].interval is None
    assert ranking.pairs[0].interval is None
    assert "Each score is of one seed: no interval over seeds where there is one" in ranking.remarks


def test_few_seeds_are_said_to_make_intervals_narrow() -> None:
    assert (
        "Intervals are over 2 seeds where there are fewest, which makes them too narrow"
        in ranked(grid(THREE, 3)).remarks
    )


def test_every_evaluator_and_fraction_is_a_question_of_its_own() -> None:
    records = grid(THREE, 3)
    records += [one | {"cell": {**one["cell"], "label_frac": 0.1}} for one in grid(THREE, 2)]
    blocks = gather_blocks(records, references=REFERENCES, metric="top1")

    assert [(block.question, len(block.datasets)) for block in blocks] == [
        ("knn / 10 % / top1", 2), ("knn / 100 % / top1", 3),
    ]  # fmt: skip


def test_settings_of_a_training_make_methods_of_their_own() -> None:
    records = [
        make("a", 60.0 + epochs / 10 + number, dataset=f"d{number}", eval_dataset=f"d{number}",
             settings={"train.epochs": epochs}, config={"training": {"epochs": epochs}})
        for epochs in (10, 20) for number in range(3)
    ]  # fmt: skip

    assert [one.label for one in only(records).entrants] == ["train.epochs=10", "train.epochs=20"]


def test_pairs_of_trained_on_and_evaluated_on_are_data_sets_and_said_to_depend_on_each_other() -> None:
    records = [
        make(method, value + len(trained + tested), dataset=trained, eval_dataset=tested)
        for method, value in (("a", 60.0), ("b", 50.0)) for trained in ("x", "yy") for tested in ("x", "yy")
    ]  # fmt: skip
    block = only(records)

    assert block.datasets == ("x", "x -> yy", "yy -> x", "yy")
    assert any("not independent" in remark for remark in rank(block).remarks)
    assert not only([one for one in records if one["cell"]["dataset"] == "x"]).repeats


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        (grid(THREE, 1), "there is 1 data set with all scores, and it takes two"),
        (grid({"a": 1.0}, 3), "there is 1 method to rank, and it takes two"),
        (grid({}, 3), "there is no method to rank, and it takes two"),
    ],
)
def test_what_cannot_be_ranked_says_why(records: list[dict[str, object]], reason: str) -> None:
    assert reason in why_not(only(records))


def test_no_records_are_refused() -> None:
    with pytest.raises(UsageError, match="no records in here"):
        gather_blocks([], folder="here")


def test_text_has_ranks_pairs_and_remarks_and_names_on_one_line() -> None:
    text = write_text(
        [ranked(grid({"a\n|<&$\\": 70.0, "\x1b[2Jb": 60.0, "c": 50.0}, 6))], ["knn / x: nothing"]
    )
    lines = text.splitlines()

    assert lines[0] == "knn / 100 % / top1: 3 methods on 6 data sets (d0, d1, d2, d3, d4, d5)"
    assert "a |<&$\\" in {line[:7].rstrip() for line in lines}
    assert "\x1b" not in text
    assert "That any ranks otherwise than by chance (Friedman): p " in text
    assert lines[-1] == "Not ranked: knn / x: nothing."


def test_json_and_csv_have_the_numbers_of_the_ranking() -> None:
    ranking = ranked(grid(THREE, 6))
    loaded = json.loads(write_json([ranking], ["why"]))
    rows = list(csv.DictReader(io.StringIO(write_csv([ranking], []))))

    assert loaded["not_ranked"] == ["why"]
    assert loaded["rankings"][0]["methods"][0]["average_rank"] == 1
    assert loaded["rankings"][0]["pairs"][2]["p"] == pytest.approx(2**-5)
    assert [row["kind"] for row in rows] == ["method"] * 3 + ["pair"] * 3
    assert float(rows[3]["p_holm"]) == pytest.approx(3 * 2**-5)
    assert float(rows[0]["iqm"]) == ranking.aggregates[0].mean


@pytest.mark.long
def test_ten_thousand_cells_are_ranked() -> None:
    records = grid({f"m{number}": 30.0 + number for number in range(8)}, 100, seeds=range(10))
    ranking = ranked(records)

    assert len(records) == 10_000
    assert len(ranking.pairs) == 28
    assert ranking.entrants[0].label == "m7"

"""`bench ranking` as a person calls it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from made_blocks import grid

from bench.cli.main import main
from bench.storage.records import RecordStore

THREE = {"a": 70.0, "b": 60.0, "c": 50.0}


def ranking(*words: str) -> Result:
    return CliRunner().invoke(main, ["ranking", *words])


@pytest.fixture
def results(folder: Path) -> Path:
    store = RecordStore(folder / "results")
    records = grid(THREE, 3)
    for share in (0.1, 1.0):
        for record in records:
            cell = {**record["cell"], "label_frac": share}
            store.write({**record, "cell": cell, "keys": {"score": f"{record['keys']['score']}{share}"}})
    return folder


def test_it_prints_a_ranking_of_each_question_and_writes_figures(results: Path) -> None:
    result = ranking("--figures", "figures")

    assert result.exit_code == 0, result.output
    assert "knn / 10 % / top1: 3 methods on 3 data sets (d0, d1, d2)" in result.stdout
    assert "knn / 100 % / top1: 3 methods" in result.stdout
    assert "Wrote figures/ranks-1.svg." in result.stderr
    assert sorted(path.name for path in (results / "figures").iterdir()) == [
        f"{name}-{number}.{kind}"
        for name in ("profiles", "ranks") for number in (1, 2) for kind in ("csv", "png", "svg")
    ]  # fmt: skip


@pytest.mark.usefixtures("results")
def test_options_choose_what_is_ranked() -> None:
    result = ranking("--label-frac", "0.1", "--method", "a,c,random", "--dataset", "d0,d2",
                     "--between", "none", "--format", "json")  # fmt: skip
    (only,) = json.loads(result.stdout)["rankings"]

    assert only["question"] == "knn / 10 % / top1"
    assert only["datasets"] == ["d0", "d2"]
    assert [one["method"] for one in only["methods"]] == ["a", "c", "random"]
    assert only["normalised_on"] == []


@pytest.mark.usefixtures("results")
def test_another_pair_of_methods_may_set_the_scale() -> None:
    result = ranking("--between", "c,a", "--label-frac", "1", "--format", "json", "--method", "b,supervised")
    (only,) = json.loads(result.stdout)["rankings"]

    assert {one["method"]: round(one["iqm"], 3) for one in only["methods"]} == {"supervised": 2, "b": 0.5}


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--method", "aa"], "--method: no record has aa. Did you mean 'a'?"),
        (["--eval", "kn"], "--eval: no record has kn. Did you mean 'knn'? Known: knn."),
        (["--label-frac", "0.5"], "--label-frac: no record has 0.5."),
        (["--label-frac", "half"], "--label-frac: 'half' is no number. Write 0.1 for a tenth of the labels."),
        (["--dataset", "d7"], "--dataset: no record has d7."),
        (["--between", "random"], "--between: 'random' is not two methods. Write FLOOR,CEILING, or none."),
        (["--metric", "topp1"], "--metric: no record has a metric 'topp1'."),
        (
            ["--dataset", "d0"],
            "ranking: knn / 10 % / top1: there is 1 data set with all scores, and it takes two",
        ),
        (["--results", "empty"], "no records in empty. Run `bench run` first."),
    ],
)
@pytest.mark.usefixtures("results")
def test_what_cannot_be_ranked_is_one_line(words: list[str], line: str) -> None:
    result = ranking(*words)

    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: {line}")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""

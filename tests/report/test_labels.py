"""Label-efficiency curves are the means of the records over their label fractions."""

from __future__ import annotations

from typing import Any

import pytest
from report_pages import Build, trained, untrained

from bench.report.labels import build_labels
from bench.report.series import reach_of
from bench.reporting.formats.base import TableCell

FRACTIONS = (0.01, 0.1, 1.0)


def grid() -> list[dict[str, Any]]:
    records = [
        trained("simclr", 40.0 + 10 * place + seed, seed=seed, label_frac=share)
        for place, share in enumerate(FRACTIONS)
        for seed in (0, 2)
    ]
    records += [untrained(20.0, label_frac=share) for share in FRACTIONS]
    records += [
        trained("supervised", 30.0, label_frac=share, protocol={"training_labels": share})
        for share in FRACTIONS
    ]
    return records


def test_a_curve_has_mean_and_deviation_of_each_share(build: Build) -> None:
    (figure,) = build_labels(*build(grid())).figures
    rows = [row for row in figure.rows if row[0] == "simclr"]

    assert [row[1] for row in rows] == [1, 10, 100]
    assert [row[2] for row in rows] == [41.0, 51.0, 61.0]
    assert [row[3] for row in rows] == pytest.approx([2**0.5] * 3)
    assert [row[4] for row in rows] == [2, 2, 2]
    assert {row[0] for row in figure.rows} == {"simclr", "random", "supervised"}


def test_the_section_says_which_lines_the_others_are_measured_by(build: Build) -> None:
    note = build_labels(*build(grid())).notes[0]

    assert "trained with the labels (supervised)" in note
    assert "not trained at all (random)" in note


def test_each_task_has_a_chart_and_many_are_chosen_from(build: Build) -> None:
    tasks = [("linear", "digits"), ("knn", "digits"), ("linear", "mnist"), ("knn", "mnist"), ("mlp", "mnist")]
    records = [
        trained(label_frac=share, evaluator=evaluator, dataset=dataset, eval_dataset=dataset)
        for evaluator, dataset in tasks
        for share in FRACTIONS
    ]
    section = build_labels(*build(records))

    assert {one.title for one in section.figures} == {
        f"{dataset} / {evaluator}" for evaluator, dataset in tasks
    }
    assert [section.choices[one.name] for one in section.figures] == [
        {"task": one.title} for one in section.figures
    ]


def test_an_evaluator_that_makes_a_curve_of_its_own_is_drawn_by_its_metrics(build: Build) -> None:
    metrics = {
        f"top1_at_{share}": {"value": value, "higher_is_better": True}
        for share, value in (("0.1", 16.0), ("100", 34.0))
    }
    (figure,) = build_labels(
        *build([trained(label_frac=None, metrics=metrics, headline="top1_at_100")])
    ).figures

    assert [row[1:3] for row in figure.rows] == [(0.1, 16.0), (100.0, 34.0)]


def test_one_share_makes_no_curve_and_the_section_says_how_to_get_one(build: Build) -> None:
    section = build_labels(*build([trained()]))

    assert not section.figures
    assert "--label-frac" in section.notes[0]


def test_around_a_score_is_its_deviation_and_of_one_seed_its_interval() -> None:
    def cell(std: float | None, low: float | None, high: float | None) -> TableCell:
        return TableCell("", "top1", True, 50.0, std, {0: 50.0}, "ok", (), {}, {}, False, False, low, high)  # noqa: FBT003

    assert reach_of(cell(2.0, 40.0, 61.0)) == (48.0, 52.0)
    assert reach_of(cell(None, 40.0, 61.0)) == (40.0, 61.0)
    assert reach_of(cell(None, None, None)) is None


def test_a_curve_of_one_seed_has_its_interval_as_a_band(build: Build) -> None:
    records = [trained(value=value, label_frac=share) for share, value in ((0.1, 40.0), (1.0, 60.0))]
    (figure,) = build_labels(*build(records)).figures

    assert 'fill-opacity=".16"' in figure.svg
    assert [tuple(round(end, 1) for end in row[5:]) for row in figure.rows] == [(39.0, 41.0), (59.0, 61.0)]


def test_labelled_images_a_class_are_a_curve_beside_that_of_the_shares(build: Build) -> None:
    records = grid()
    for place, shots in enumerate((1, 5, 10)):
        record = trained("simclr", 30.0 + place, label_frac=None)
        record["cell"]["shots"] = shots
        record["keys"] = {**record["keys"], "score": f"of-{shots}-shots"}
        records.append(record)
    shares, shots_chart = build_labels(*build(records)).figures

    assert [row[:3] for row in shots_chart.rows] == [
        ("simclr", 1, 30.0),
        ("simclr", 5, 31.0),
        ("simclr", 10, 32.0),
    ]
    assert shots_chart.columns[1] == "labelled images a class"
    assert shots_chart.title.endswith(", by labelled images a class")
    assert shots_chart.name != shares.name
    assert [row[1] for row in shares.rows if row[0] == "simclr"] == [1, 10, 100]

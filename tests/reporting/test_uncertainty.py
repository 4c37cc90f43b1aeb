"""How far each number can be trusted: what a cell knows of it, and what the table shows."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_records import caption, make
from safetensors.numpy import save_file
from scipy.stats import t
from sklearn.metrics import balanced_accuracy_score

from bench.errors import UnknownName
from bench.reporting import evidence
from bench.reporting.formats.base import TableCell
from bench.reporting.table import build_table, table
from bench.statistics.crossed import judge, split_mean
from bench.statistics.intervals import bound_share, wilson
from bench.statistics.paired import mcnemar
from bench.statistics.per_image import weigh_by_class
from bench.storage.artifacts import ArtifactStore

N = 500
LABELS = np.arange(N, dtype=np.int32) % 5


def predict(folder: Path, method: str, seed: int, chance: float, **changes: Any) -> dict[str, Any]:
    """Return a record and store its predictions: easy images are right for every method and seed."""
    easy = np.random.default_rng(7).random(N)
    draw = np.random.default_rng([seed, *method.encode()])
    predicted = np.where(easy * 0.7 + draw.random(N) * 0.3 < chance, LABELS, (LABELS + 1) % 5).astype(
        np.int32
    )
    values = {
        "top1": float((predicted == LABELS).mean() * 100),
        "balanced_accuracy": 100 * float(balanced_accuracy_score(LABELS, predicted)),
    }
    metrics = {name: {"value": value, "higher_is_better": True, "n": N} for name, value in values.items()}
    record = make(method, seed=seed, metrics=metrics, **changes)
    with ArtifactStore(folder).write(record["keys"]["score"]) as work:
        save_file({"label": LABELS, "prediction": predicted}, work / "predictions.safetensors")
    return record


def cell_of(records: list[dict[str, Any]], folder: Path | str = "nowhere", **options: Any) -> TableCell:
    return next(build_table(records, folder=folder, **options).cells())


def test_one_seed_has_wilsons_interval_by_its_counts_alone() -> None:
    cell = cell_of([make(value=70.0)])

    assert (cell.low, cell.high) == pytest.approx([100 * end for end in wilson(70_000, 100_000)])
    assert cell.interval == evidence.WILSON
    assert cell.text == "70.00 [69.72, 70.28]"


def test_several_seeds_have_an_interval_over_seeds_and_images_if_predictions_are_stored(
    tmp_path: Path,
) -> None:
    records = [predict(tmp_path, "a", seed, 0.6) for seed in range(3)]
    cell, blind = cell_of(records, tmp_path), cell_of(records)
    rows = [predict_right(tmp_path, record) for record in records]
    expected = bound_share(np.mean(rows), split_mean(judge(np.stack(rows))), N)

    assert (cell.low, cell.high) == pytest.approx([100 * end for end in expected])
    assert (cell.interval, blind.interval) == (evidence.BOTH, evidence.BOTH_BY_COUNTS)
    assert blind.low is not None
    assert cell.low is not None
    assert blind.low < cell.low  # what is not known makes it wider
    assert "[" not in cell.text


def predict_right(folder: Path, record: dict[str, Any]) -> Any:
    from bench.storage.predictions import read_predictions

    found = read_predictions(ArtifactStore(folder), record["keys"]["score"])
    assert found is not None
    return (found.labels == found.predicted).astype(float)


def test_a_seed_without_predictions_or_with_other_labels_leaves_the_counts(tmp_path: Path) -> None:
    records = [predict(tmp_path, "a", seed, 0.6) for seed in range(3)]
    folder = ArtifactStore(tmp_path).folder / records[1]["keys"]["score"]
    (folder / "manifest.json").unlink()

    assert cell_of(records, tmp_path).interval == evidence.BOTH_BY_COUNTS
    right = int(records[1]["metrics"]["top1"]["value"] * N / 100)
    other = {"label": LABELS * 0, "prediction": (np.arange(N) >= right).astype(np.int32)}
    with ArtifactStore(tmp_path).write(records[1]["keys"]["score"]) as work:
        save_file(other, work / "predictions.safetensors")
    assert cell_of(records, tmp_path).interval == evidence.BOTH_BY_COUNTS


def test_a_balanced_accuracy_is_bounded_by_what_each_image_counts_for(tmp_path: Path) -> None:
    one = cell_of([predict(tmp_path, "a", 0, 0.6)], tmp_path, metric="balanced_accuracy")
    several = [predict(tmp_path, "a", seed, 0.6) for seed in range(3)]
    both = cell_of(several, tmp_path, metric="balanced_accuracy")

    assert (one.interval, both.interval) == (evidence.IMAGES, evidence.BOTH)
    assert cell_of(several, metric="balanced_accuracy").interval == evidence.SEEDS
    assert one.low is not None
    assert one.mean is not None
    assert one.low < one.mean < (one.high or 0)


def test_another_metric_has_students_interval_over_seeds_and_says_that_it_is_of_seeds_alone() -> None:
    values = [0.5, 0.7, 0.9]
    records = [make(seed=seed, value=value) for seed, value in enumerate(values)]
    cell = cell_of(records, metric="nll", uncertainty="both")
    half = t.ppf(0.975, 2) * np.std(values, ddof=1) / math.sqrt(3)

    assert (cell.low, cell.high) == pytest.approx((0.7 - half, 0.7 + half))
    assert cell.interval == "t over seeds alone"
    assert cell.text == "0.7000 ± 0.2000 [0.2032, 1.1968]"
    assert cell_of(records[:1], metric="nll").interval is None
    assert cell_of([make(seed=s, value=0.5) for s in (0, 1)], metric="nll").interval is None


def test_a_percentage_stays_one() -> None:
    accuracies = [{"acc": {"value": value, "higher_is_better": True}} for value in (90.0, 99.0)]
    records = [make(seed=seed, metrics=metrics, headline="acc") for seed, metrics in enumerate(accuracies)]

    assert (cell_of(records).low, cell_of(records).high) == (pytest.approx(94.5 - 57.18, abs=0.01), 100.0)


@pytest.mark.parametrize(
    ("shown", "text", "one"),
    [
        ("auto", "71.00 ± 1.41", "70.00 [69.72, 70.28]"),
        ("std", "71.00 ± 1.41", "70.00"),
        ("interval", "71.00 [57.14, 81.81]", "70.00 [69.72, 70.28]"),
        ("both", "71.00 ± 1.41 [57.14, 81.81]", "70.00 [69.72, 70.28]"),
        ("none", "71.00", "70.00"),
    ],
)
def test_the_table_shows_what_is_asked_for(shown: str, text: str, one: str) -> None:
    records = [make(seed=0), make(seed=1, value=72.0)]
    said = caption(table(records, uncertainty=shown))

    assert cell_of(records, uncertainty=shown).text == text
    assert cell_of(records[:1], uncertainty=shown).text == one
    assert ("mean ± std over seeds" in said, "95 % interval in brackets (over" in said) == (
        "±" in text,
        "[" in text,
    )


def test_what_is_no_choice_is_refused_in_one_line() -> None:
    with pytest.raises(UnknownName, match=r"^--uncertainty: there is no 'stdd'\. Did you mean 'std'\?"):
        table([make()], uncertainty="stdd")


def test_two_methods_are_compared_on_the_images_that_they_share(tmp_path: Path) -> None:
    records = [
        predict(tmp_path, method, seed, chance)
        for method, chance in (("a", 0.60), ("b", 0.55))
        for seed in range(5)
    ]

    assert [cell.best for cell in build_table(records, folder=tmp_path).cells()] == [True, False]
    assert not any(cell.best for cell in build_table(records).cells())  # counts alone do not tell
    assert "(t over seeds and shared test images; Holm, level 0.05)" in caption(
        table(records, folder=tmp_path)
    )
    assert "(t over seeds and the worst of the counts; Holm" in caption(table(records))


def test_the_caption_says_in_how_many_tasks_nothing_can_be_told() -> None:
    records = [
        make(m, value, dataset=d) for m, d, value in (("a", "d", 50), ("b", "d", 60), ("a", "e", 50.1))
    ]
    records.append(make("b", 50.0, dataset="e"))

    assert mcnemar(0, 100) < 0.05  # the images that might be told apart
    assert (
        "Nothing is marked in 1 of 2 tasks, in which no difference from the best is significant. Bold is"
        in caption(table(records))
    )


def test_what_a_balanced_accuracy_is_made_of_is_what_the_record_says(tmp_path: Path) -> None:
    record = predict(tmp_path, "a", 0, 0.6)
    right = predict_right(tmp_path, record)
    predicted = np.where(right > 0, LABELS, (LABELS + 1) % 5).astype(np.int32)

    assert 100 * weigh_by_class(LABELS, predicted).mean() == pytest.approx(
        record["metrics"]["balanced_accuracy"]["value"]
    )

"""Which cells are marked: only where seeds or test images show that others are worse."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_records import caption, cells, make, sweep, tidy
from safetensors.numpy import save_file

from bench.reporting.comparisons import ANSWERS, compare
from bench.reporting.evidence import Evidence
from bench.reporting.table import build_table, table
from bench.statistics.parts import LEVEL
from bench.storage.artifacts import ArtifactStore
from bench.storage.predictions import read_predictions

N = 1000  # test images with predictions


def over_seeds(method: str, *values: float, **changes: Any) -> list[dict[str, Any]]:
    return [make(method, value, seed=seed, **changes) for seed, value in enumerate(values)]


def best_of(
    records: list[dict[str, Any]], folder: Path | str | list[Path] = "nowhere", **options: Any
) -> set[str]:
    """Return the methods whose cells are marked."""
    return {c.axes["method"] for c in build_table(records, folder=folder, **options).cells() if c.best}


def answered(
    folder: Path, method: str, wrong: range, labels: Any = None, top1: float | None = None, **changes: Any
) -> dict[str, Any]:
    """Return a record of one seed and store its predictions: all of `N` right but those of a range."""
    right = 100 * (N - len(wrong)) / N
    count = {"value": right if top1 is None else top1, "higher_is_better": True, "n": N}
    record = make(method, metrics={"top1": count}, **changes)
    labels = np.arange(N, dtype=np.int32) % 10 if labels is None else labels
    predicted = labels.copy()
    predicted[wrong] += 1
    key = record["keys"]["score"]
    with ArtifactStore(folder).write(key) as work:
        save_file({"label": labels, "prediction": predicted}, work / "predictions.safetensors")
    return record


# ---- over seeds


def test_a_difference_within_the_noise_of_seeds_is_not_marked() -> None:
    records = [*over_seeds("a", 82.60, 86.40, 90.32), *over_seeds("b", 85.30, 86.21, 87.00)]

    assert best_of(records) == set()
    assert caption(table(records)).endswith(
        ". No difference from the best is significant (t over seeds and the worst of the counts; "
        "Holm, level 0.05)."
    )


def test_the_best_is_marked_with_all_that_are_not_significantly_worse() -> None:
    records = [
        *over_seeds("a", 90.0, 90.4, 90.2, 90.6),
        *over_seeds("b", 89.9, 90.5, 90.3, 90.4),
        *over_seeds("c", 80.0, 80.4, 80.2, 80.6),
    ]
    text = table(records)

    assert best_of(records) == {"a", "b"}
    assert [row[1].startswith("**") for row in cells(text)[1:]] == [True, True, False]
    assert "No difference" not in text
    assert caption(text).endswith(
        " Bold is best or not significantly worse, where others are (t over seeds and the worst "
        "of the counts; Holm, level 0.05)."
    )


def test_what_was_evaluated_with_one_seed_leaves_a_column_of_several_unmarked() -> None:
    records = [*over_seeds("a", 90.0, 90.2, 90.1), *over_seeds("b", 80.0, 80.2, 80.1), make("c", 50.0)]

    assert best_of(records[:-1]) == {"a"}
    assert best_of(records) == set()
    assert "Not marked where a cell has no test against the best: top1 (one seed beside several)." in caption(
        table(records)
    )


def test_numbers_that_no_seed_changes_are_no_sample_of_seeds() -> None:
    records = [
        make(method, seed=seed, metrics={"acc": {"value": value, "higher_is_better": True}}, headline="acc")
        for method, values in (
            ("a", (90.0, 90.0, 90.0)),
            ("b", (80.0, 80.0, 80.0)),
            ("c", (80.0, 80.1, 80.2)),
        )
        for seed, value in enumerate(values)
    ]

    assert best_of(records[:6]) == set()
    assert "against the best: acc (no seed changes a value)." in caption(table(records[:6]))
    assert best_of([*records[:3], *records[6:]]) == {"a"}


def test_a_significant_difference_that_is_not_printed_is_none() -> None:
    tiny = (0, 1e-7, 2e-7)
    records = [*over_seeds("a", *(70.001 + d for d in tiny)), *over_seeds("b", *(70.002 + d for d in tiny))]

    assert best_of(records) == set()
    assert best_of([*records, *over_seeds("c", 1, 2, 3)]) == {"a", "b"}


def test_without_a_true_difference_at_most_one_table_in_twenty_is_marked() -> None:
    draw, tables = np.random.default_rng(0), 400
    marked = sum(
        bool(best_of([r for m, own in zip("ab", values, strict=True) for r in over_seeds(m, *own)]))
        for values in draw.normal(80, 1, (tables, 2, 5)).tolist()
    )

    assert 0 < marked / tables < 0.05


# ---- on the test images of one seed


def test_two_networks_of_one_seed_are_compared_on_the_images_that_one_alone_gets_right(
    tmp_path: Path,
) -> None:
    better, nested = answered(tmp_path, "a", range(100)), answered(tmp_path, "b", range(112))
    apart = answered(tmp_path, "c", range(500, 612))

    assert best_of([better, nested], tmp_path) == {"a"}  # 12 images to none: p 0.0005
    assert best_of([better, apart], tmp_path) == set()  # 112 images to 100: p 0.45
    assert "(McNemar on one seed's test images; Holm, level 0.05)" in caption(
        table([better, nested], folder=tmp_path)
    )


def test_predictions_are_looked_for_in_every_folder(tmp_path: Path) -> None:
    better = answered(tmp_path / "one", "a", range(100))
    nested = answered(tmp_path / "other", "b", range(112))

    assert best_of([better, nested], [tmp_path / "one", tmp_path / "other"]) == {"a"}
    assert best_of([better, nested], tmp_path / "one") == set()


def test_a_difference_that_is_significant_alone_need_not_be_among_all_pairs(tmp_path: Path) -> None:
    best, *others = (answered(tmp_path, m, w) for m, w in (("a", range(100)), ("b", range(1, 109))))
    third = answered(tmp_path, "c", range(1, 109))  # 9 images to 1: p 0.021, and there are 3 pairs

    assert best_of([best, *others], tmp_path) == {"a"}
    assert best_of([best, *others, third], tmp_path) == set()


def test_one_image_of_359_is_not_marked(tmp_path: Path) -> None:
    labels = np.zeros(359, dtype=np.int32)
    records = []
    for method, wrong in (("a", 10), ("b", 11)):
        count = {"value": 100 * (359 - wrong) / 359, "higher_is_better": True, "n": 359}
        records.append(make(method, metrics={"top1": count}))
        predicted = (np.arange(359) < wrong).astype(np.int32)
        with ArtifactStore(tmp_path).write(records[-1]["keys"]["score"]) as work:
            save_file({"label": labels, "prediction": predicted}, work / "predictions.safetensors")

    assert [cell.text for cell in build_table(records, uncertainty="none").cells()] == ["97.21", "96.94"]
    assert best_of(records, tmp_path) == set()


def test_without_predictions_the_counts_have_to_be_significant_whatever_was_predicted(tmp_path: Path) -> None:
    near = [answered(tmp_path, "a", range(100)), answered(tmp_path, "b", range(112))]
    far = [*near, answered(tmp_path, "c", range(400))]

    assert best_of(near, tmp_path) == {"a"}
    assert best_of(near) == set()
    assert best_of(far) == {"a", "b"}
    assert "(McNemar at the worst of one seed's counts; Holm, level 0.05)" in caption(table(near))


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": np.arange(N, dtype=np.int32)[::-1] % 10},
        {"config": {"eval_dataset": {"fingerprint": "other"}}},
    ],
    ids=["other labels", "another fingerprint"],
)
def test_two_test_sets_are_not_compared(tmp_path: Path, changes: dict[str, Any]) -> None:
    config = {"eval_dataset": {"fingerprint": "one"}}
    one = answered(tmp_path, "a", range(100), config=config)
    other = answered(tmp_path, "b", range(112), **{"config": config, **changes})

    assert best_of([one, answered(tmp_path, "b", range(112), config=config)], tmp_path) == {"a"}
    answered(tmp_path, "b", range(112), **{"config": config, **changes})
    assert best_of([one, other], tmp_path) == set()
    assert "where a cell has no test against the best: top1" in caption(table([one, other], folder=tmp_path))


def test_predictions_that_are_not_what_the_record_says_are_not_used(tmp_path: Path) -> None:
    better = answered(tmp_path, "a", range(100))
    stale = answered(tmp_path, "b", range(150), top1=88.8)

    assert best_of([better, stale], tmp_path) == set()
    assert best_of([better, answered(tmp_path, "b", range(112))], tmp_path) == {"a"}


def test_predictions_of_another_cell_or_damaged_ones_are_not_used(tmp_path: Path) -> None:
    better, nested = answered(tmp_path, "a", range(100)), answered(tmp_path, "b", range(112))
    apart = answered(tmp_path, "c", range(500, 612))
    own, other = (tmp_path / "artifacts" / record["keys"]["score"] for record in (apart, nested))
    shutil.rmtree(own)
    shutil.copytree(other, own)
    (other / "predictions.safetensors").write_bytes(bytes((other / "predictions.safetensors").stat().st_size))
    with ArtifactStore(tmp_path).write("without predictions"):
        pass

    assert best_of([better, apart], tmp_path) == set()
    assert best_of([better, nested], tmp_path) == set()
    assert read_predictions(ArtifactStore(tmp_path), "without predictions") is None


def test_a_mean_over_draws_counts_no_images(tmp_path: Path) -> None:
    def of(metric: str, value: float, n: int | None = N) -> dict[str, Any]:
        return {metric: {"value": value, "higher_is_better": True, "n": n}}

    for metrics in (of("top1_area", 90.0), of("nll", 0.1), of("top1", 90.05), of("top1", 90.0, None)):
        worse = {name: {**metric, "value": metric["value"] / 2} for name, metric in metrics.items()}
        records = [make("a", metrics=metrics, headline=None), make("b", metrics=worse, headline=None)]

        assert best_of(records, metric=next(iter(metrics))) == set()
        assert "where a cell has no test against the best" in caption(
            table(records, metric=next(iter(metrics)))
        )
    assert best_of([make("a", metrics=of("top5", 90.0)), make("b", metrics=of("top5", 45.0))], metric="top5")


def test_predictions_are_read_only_where_they_decide(tmp_path: Path) -> None:
    wrongs = (100, 112, 101, 400)
    records = [answered(tmp_path, m, range(w)) for m, w in zip("abcd", wrongs, strict=True)]
    asked: list[str] = []

    def read(key: str) -> Any:
        asked.append(key)
        return read_predictions(ArtifactStore(tmp_path), key)

    best, *others = (Evidence(cell_group(record), read) for record in records)
    found = [compare(best, other, LEVEL / 6) for other in others]

    assert asked == [records[index]["keys"]["score"] for index in (0, 1)]
    assert [getattr(comparison, "test", None) for comparison in found] == [ANSWERS] * 3


def cell_group(record: dict[str, Any]) -> Any:
    from bench.reporting.axes import survey_records
    from bench.reporting.pivot import SeedGroup

    return SeedGroup(survey_records([record]).points, "top1", on_diagonal=False)


# ---- what is compared


def test_best_follows_the_direction_of_the_metric_and_what_prints_alike_is_alike() -> None:
    records = [make("a", 70.001), make("b", 70.004), make("c", 60.0)]
    losses = [r for m, v in (("a", 0.7), ("b", 0.6)) for r in over_seeds(m, v, v + 0.01, v + 0.02)]

    assert [row[1].startswith("**") for row in cells(table(records))[1:]] == [True, True, False]
    assert best_of(losses, metric="nll") == {"b"}
    assert "nll (lower is better)" in table(records, metric="nll")


def test_a_metric_without_a_direction_has_no_best() -> None:
    def measured(method: str, *values: float) -> list[dict[str, Any]]:
        measures = ({"alignment": {"value": value, "higher_is_better": None}} for value in values)
        return [make(method, seed=seed, metrics=metrics) for seed, metrics in enumerate(measures)]

    records = [*measured("simclr", 0.40, 0.41, 0.42), *measured("random", 0.1, 0.11, 0.12)]
    cell = next(build_table(records, metric="alignment").cells())
    text = caption(table(records, metric="alignment"))

    assert best_of(records, metric="alignment") == set()
    assert cell.higher_is_better is None
    assert text.startswith("alignment, mean")
    assert text.endswith(". Neither more nor less is better of alignment.")


def test_records_that_disagree_on_a_direction_have_none() -> None:
    records = [*over_seeds("a", 90, 91, 92), *over_seeds("b", 10, 11, 12)]
    records[0]["metrics"]["top1"]["higher_is_better"] = False

    assert best_of(records) == set()


@pytest.mark.parametrize("options", [{"rows": "seed,method"}, {"cols": "seed"}])
def test_where_seeds_have_cells_of_their_own_nothing_is_best(options: dict[str, str]) -> None:
    records = [*over_seeds("a", 90, 91, 92), *over_seeds("b", 10, 11, 12)]

    assert best_of(records) == {"a"}
    assert best_of(records, **options) == set()
    assert "Each cell is one seed, so that none is marked." in caption(table(records, **options))


def test_best_compares_methods_on_one_task_wherever_it_stands() -> None:
    records = [
        make(m, v, dataset=d) for m, d, v in (("a", "d", 1), ("a", "e", 90), ("b", "d", 2), ("b", "e", 80))
    ]

    assert cells(table(records, rows="dataset", cols="method"))[1:] == [
        ["d", "1.00", "**2.00**"],
        ["e", "**90.00**", "80.00"],
    ]


def test_best_does_not_compare_an_evaluators_settings() -> None:
    one, other = sweep("knn.k", 20, 200, method="a"), sweep("knn.k", 20, 200, method="b")
    for record in other:
        record["metrics"]["top1"]["value"] -= 10
    text = table([*one, *other], rows="knn.k,method")

    assert "**" not in table(one, rows="knn.k")
    assert [row[2].startswith("**") for row in cells(text)[1:]] == [True, False, True, False]


def test_nan_is_shown_and_never_best() -> None:
    text = table([make("a", math.nan), make("b", 1.0), make("c", 2.0), make("d", -math.inf, seed=1)])

    assert [row[1] for row in cells(text)[1:]] == ["nan", "1.00", "**2.00**", "-inf"]
    assert tidy([make(value=math.nan)])[0]["mean"] == "nan"
    assert tidy([make(seed=s, value=v) for s, v in enumerate((math.inf, -math.inf))])[0]["std"] == "nan"

"""Two rows side by side: which are meant, how far apart they are, where, and what would settle it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from made_records import make, sweep
from safetensors.numpy import save_file
from scipy.stats import binomtest
from statsmodels.stats.multitest import multipletests

from bench.cli.main import main
from bench.errors import BadValue, UnknownName, UsageError
from bench.reporting.compared_rows import MORE_SEEDS, NOTHING, SETTLED, ComparedColumn, compare_rows
from bench.reporting.comparison_texts import write_json, write_text
from bench.reporting.comparisons import ANSWERS, BOTH, COUNTS, OTHER_IMAGES, SAME, SEEDS, Comparison
from bench.statistics.crossed import judge, split_difference, split_mean
from bench.statistics.parts import Part, find_half_width, find_p
from bench.storage.artifacts import ArtifactStore
from bench.storage.records import RecordStore

N = 400
LABELS = np.arange(N, dtype=np.int32) % 4
CLASSES = ["cat", "d|o<g", "$o\\wl", "e\nl\x1bk"]


def draw_right(method: str, seed: int, chance: float) -> Any:
    easy = np.random.default_rng(7).random(N)
    return easy * 0.7 + np.random.default_rng([seed, *method.encode()]).random(N) * 0.3 < chance


def predict(folder: Path, method: str, seed: int, right: Any, **changes: Any) -> dict[str, Any]:
    """Return a record and store what is right and wrong; what is wrong is taken for the next class."""
    metrics = {"top1": {"value": float(100 * right.mean()), "higher_is_better": True, "n": N}}
    recall = [float(100 * right[c == LABELS].mean()) for c in range(4)]
    changes = {"classes": CLASSES, "per_class": {"recall": recall}, "headline": "top1", **changes}
    record = make(method, seed=seed, metrics=metrics, **changes)
    with ArtifactStore(folder).write(record["keys"]["score"]) as work:
        predicted = np.where(right, LABELS, (LABELS + 1) % 4).astype(np.int32)
        save_file({"label": LABELS, "prediction": predicted}, work / "predictions.safetensors")
    return record


def predict_all(
    folder: Path, method: str, chance: float, seeds: int = 3, **changes: Any
) -> list[dict[str, Any]]:
    return [predict(folder, method, s, draw_right(method, s, chance), **changes) for s in range(seeds)]


def only(records: list[dict[str, Any]], one: str, other: str, **options: Any) -> ComparedColumn:
    (column,) = compare_rows(records, one, other, **options).columns
    return column


def comparison_of(column: ComparedColumn) -> Comparison:
    assert isinstance(column.comparison, Comparison)
    return column.comparison


# ---- which rows are meant


def grid() -> list[dict[str, Any]]:
    """Return two methods on two backbones, read with two shares of the labels."""
    return [
        make(method, 50.0 + 5 * i, backbone=backbone, label_frac=share, seed=seed)
        for i, (method, backbone) in enumerate(
            (m, b) for m in ("simclr", "vicreg") for b in ("r18", "hf/r50")
        )
        for share in (0.1, 1.0)
        for seed in (0, 1)
    ]


@pytest.mark.parametrize(
    ("one", "other", "names"),
    [
        ("simclr/r18", "vicreg/r18", ("simclr/r18", "vicreg/r18")),
        ("simclr/hf/r50", "simclr/r18", ("simclr/hf/r50", "simclr/r18")),
        ("method=simclr,backbone=r18", "r18,vicreg", ("simclr/r18", "vicreg/r18")),
        ("simclr,backbone=hf/r50", "vicreg/r18", ("simclr/hf/r50", "vicreg/r18")),
    ],
)
def test_rows_are_named_by_labels_or_by_axes(one: str, other: str, names: tuple[str, str]) -> None:
    found = compare_rows(grid(), one, other)

    assert found.names == names
    assert [column.heading for column in found.columns] == ["10 %", "100 %"]


def test_an_axis_that_both_name_tells_no_columns_apart() -> None:
    one, other = "simclr/r18,label_frac=0.1", "simclr/r18,label_frac=1"
    found = compare_rows(grid(), one, other)

    assert found.names == (one, other)
    assert [column.heading for column in found.columns] == ["top1"]


def test_an_axis_that_one_names_leaves_its_columns() -> None:
    found = compare_rows(grid(), "simclr/r18,label_frac=10 %", "vicreg/r18")

    assert [column.heading for column in found.columns] == ["10 %"]


def test_a_value_with_commas_is_one_value() -> None:
    records = sweep("views.ops", ("crop", "flip"), ("crop",))
    found = compare_rows(records, "views.ops=crop,flip", "views.ops=crop")

    assert found.names == ("simclr/resnet18/crop,flip", "simclr/resnet18/crop")


@pytest.mark.parametrize(
    ("one", "other", "error", "message"),
    [
        ("simclrr/r18", "vicreg/r18", UnknownName, "no row is named 'simclrr/r18'. Did you mean"),
        ("backbon=r18", "vicreg/r18", UnknownName, "no axis is named 'backbon'. Did you mean 'backbone'?"),
        ("simclr", "vicreg/r18", BadValue, "'simclr' is 2 rows: simclr/r18, simclr/hf/r50. Name one"),
        ("simclr/r18", "simclr,r18", BadValue, "'simclr/r18' and 'simclr,r18' are the same row. Name two."),
        ("simclr/r18,label_frac=5", "vicreg/r18", UnknownName, "compare: no row is named"),
        ("", "vicreg/r18", UnknownName, "compare: no row is named ''"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_refused_in_one_line(
    one: str, other: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        compare_rows(grid(), one, other)

    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_rows_with_nothing_in_common_and_no_records_are_refused() -> None:
    with pytest.raises(
        UsageError, match=r"no column in common: the one has knn, the other linear\. Run both"
    ):
        compare_rows([make("a"), make("b", evaluator="linear")], "a", "b")
    with pytest.raises(UsageError, match=r"^no records in here\. Run `bench run` first\.$"):
        compare_rows([], "a", "b", folder="here")


# ---- how they differ


def test_the_difference_is_that_over_seeds_and_shared_images(tmp_path: Path) -> None:
    one, other = ([draw_right(m, s, c) for s in range(3)] for m, c in (("a", 0.6), ("b", 0.5)))
    records = [predict(tmp_path, "a", s, r) for s, r in enumerate(one)]
    records += [predict(tmp_path, "b", s, r) for s, r in enumerate(other)]
    column = only(records, "a", "b", folder=tmp_path)
    found = comparison_of(column)
    judged = [judge(np.array(rows, dtype=np.float64)) for rows in (one, other)]
    parts = split_difference(*judged)
    difference = judged[0].mean - judged[1].mean

    assert found.test == BOTH
    assert found.difference == pytest.approx(100 * difference)
    assert found.p == pytest.approx(find_p(difference, parts), rel=1e-5)
    assert found.interval is not None
    assert found.interval.high - found.difference == pytest.approx(100 * find_half_width(parts))
    assert column.settles == SETTLED


def test_one_seed_of_each_has_the_p_and_the_interval_of_the_images_and_not_the_worst_of_the_counts(
    tmp_path: Path,
) -> None:
    right = np.arange(N) >= 80
    worse = np.arange(N) >= 84  # wrong where the other is, and on four more
    records = [predict(tmp_path, "a", 0, right), predict(tmp_path, "b", 0, worse)]
    comparison = comparison_of(only(records, "a", "b", folder=tmp_path))

    assert comparison.test == ANSWERS
    assert comparison.p == pytest.approx(binomtest(0, 4).pvalue) == 0.125
    assert comparison.interval is not None
    low, high = comparison.interval
    assert low < 0 < comparison.difference == 1 < high
    assert high - low < 3  # by the counts alone it may be ten points
    by_counts = comparison_of(only(records, "a", "b", folder=tmp_path / "nowhere"))
    assert (by_counts.test, by_counts.interval) == (COUNTS, None)
    assert by_counts.p > 0.7


def test_rows_on_other_classes_of_one_data_set_have_no_test_images_in_common(tmp_path: Path) -> None:
    def read(method: str, *classes: str) -> dict[str, Any]:
        data = {"fingerprint": "one", "classes": list(classes)}
        return predict(tmp_path, method, 0, np.arange(N) >= 80, config={"eval_dataset": data})

    one, same, other = read("a", "cat", "dog"), read("b", "cat", "dog"), read("c", "ship", "truck")

    assert comparison_of(only([one, same], "a", "b", folder=tmp_path)).test == ANSWERS
    assert only([one, other], "a", "c", folder=tmp_path).comparison == OTHER_IMAGES


def test_a_value_that_is_no_finite_number_has_no_test(tmp_path: Path) -> None:
    records = [make("a", float("nan"), seed=s) for s in range(2)]
    records += [make("b", 1.0 + s, seed=s) for s in range(2)]
    for record in records:
        RecordStore(tmp_path).write(record)
    (column,) = compare_rows(records, "a", "b", metric="nll").columns
    done = invoke(tmp_path, "a", "b", "--metric", "nll")

    assert column.comparison == "a value that is no finite number"
    assert (done.exit_code, done.exception) == (0, None)
    assert "no test: a value that is no finite number" in done.stdout


def test_networks_that_are_read_in_two_ways_are_compared_seed_by_seed(tmp_path: Path) -> None:
    records = []
    for evaluator, chance in (("knn", 0.55), ("linear", 0.6)):
        for seed in range(3):
            keys = {"score": f"{evaluator}{seed}", "backbone": f"b{seed}"}
            right = draw_right("a", seed, chance + 0.05 * seed)
            records.append(predict(tmp_path, "a", seed, right, evaluator=evaluator, keys=keys))
    names = ("evaluator=linear", "evaluator=knn")
    found = comparison_of(only(records, *names, folder=tmp_path))
    linear, knn = (np.array([draw_right("a", s, c + 0.05 * s) for s in range(3)], float) for c in (0.6, 0.55))
    parts = split_mean(judge(linear - knn))

    assert found.test == BOTH + SAME
    assert found.p == pytest.approx(find_p(float((linear - knn).mean()), parts), rel=1e-5)
    assert (
        comparison_of(only(records, *names)).test
        == "t over seeds and the worst of the counts, of the same networks"
    )
    for record in records[:3]:
        record["keys"]["backbone"] += " of another"
    assert comparison_of(only(records, *names, folder=tmp_path)).test == BOTH


def test_each_p_is_also_given_among_all_columns() -> None:
    records = [
        make(m, value + 0.3 * seed, dataset=d, seed=seed)
        for m, d, value in (("a", "x", 90.0), ("b", "x", 88.0), ("a", "y", 80.0), ("b", "y", 79.5))
        for seed in range(4)
    ]
    columns = compare_rows(records, "a", "b").columns

    assert [column.p_holm for column in columns] == pytest.approx(
        multipletests([comparison_of(column).p for column in columns], method="holm")[1]
    )


def test_what_would_settle_it_is_said() -> None:
    def settle(values: tuple[float, ...], others: tuple[float, ...], **options: Any) -> str:
        records = [make("a", v, seed=s) for s, v in enumerate(values)]
        records += [make("b", v, seed=s) for s, v in enumerate(others)]
        return only(records, "a", "b", **options).settles

    assert settle((90.0, 90.1, 90.2), (50.0, 50.1, 50.2)) == SETTLED
    assert settle((71.0, 74.0), (70.0, 72.0)).startswith("about ")
    assert settle((70.00, 70.02), (70.01, 70.03)).endswith(" test images")
    assert settle((60.0, 90.0), (70.0, 76.0)) == "over 100 seeds each"
    assert settle((70.0, 90.0), (90.0, 70.0)) == NOTHING
    assert settle((70.0,), (72.0,)) == MORE_SEEDS
    assert settle((70.0, 71.0), (72.0,)) == MORE_SEEDS
    assert settle((0.5, 0.7), (0.6, 0.9), metric="nll").startswith("about ")


def test_a_metric_without_images_is_compared_over_seeds(tmp_path: Path) -> None:
    records = [
        make(m, v, seed=s) for m, vs in (("a", (0.5, 0.6)), ("b", (0.9, 0.8))) for s, v in enumerate(vs)
    ]
    found = comparison_of(only(records, "a", "b", metric="nll"))
    parts = [Part(0.005 / 2, 1)] * 2

    assert found.test == SEEDS
    assert found.p == pytest.approx(find_p(-0.3, parts), rel=1e-5)


def test_where_they_differ_is_named_by_class_and_image(tmp_path: Path) -> None:
    right = np.ones(N, bool)
    wrong_cats, wrong_seven = right.copy(), right.copy()
    wrong_cats[LABELS == 0], wrong_seven[7] = False, False
    half = right.copy()
    half[6] = False
    records = [predict(tmp_path, "a", 0, wrong_seven), predict(tmp_path, "a", 1, wrong_seven & half)]
    records += [predict(tmp_path, "b", 0, wrong_cats), predict(tmp_path, "b", 1, wrong_cats)]
    column = only(records, "a", "b", folder=tmp_path, most=2)
    found = column.disagreement
    assert found is not None
    ours, theirs = found.images

    assert (column.classes[0].name, column.classes[0].recalls) == ("cat", (100.0, 0.0))
    assert len(column.classes) == 3
    assert found.counts == (100, 1)
    assert [image.index for image in ours] == [0, 4]
    assert (ours[0].label, ours[0].said, ours[0].right) == ("cat", ("cat", CLASSES[1]), (1.0, 0.0))
    assert [(image.index, image.right) for image in theirs] == [(7, (0.0, 1.0)), (6, (0.5, 1.0))]
    every = only(records, "a", "b", folder=tmp_path, most=N).disagreement
    assert every is not None
    assert [len(images) for images in every.images] == [100, 2]
    assert found.agreement.between == pytest.approx(100 * (1 - (101 + 102) / 2 / N))
    assert found.agreement.within == (pytest.approx(100 * (1 - 1 / N)), 100.0)


def test_without_predictions_classes_are_those_of_the_records_and_images_are_not_known(
    tmp_path: Path,
) -> None:
    records = [*predict_all(tmp_path, "a", 0.6), *predict_all(tmp_path, "b", 0.5)]
    column = only(records, "a", "b")

    assert len(column.classes) == 3
    assert column.disagreement is None
    assert "right in every seed" not in write_text(compare_rows(records, "a", "b"))


def test_recalls_that_are_missing_or_of_a_class_without_images_are_left_out(tmp_path: Path) -> None:
    records = [*predict_all(tmp_path, "a", 0.6), *predict_all(tmp_path, "b", 0.5)]
    for record in records:
        record["per_class"] = {"recall": [float("nan"), 1.0, 2.0, 3.0]}

    assert "cat" not in {found.name for found in only(records, "a", "b").classes}
    records[0]["per_class"] = None
    assert only(records, "a", "b").classes == ()


def test_a_cell_that_failed_is_shown_with_its_status() -> None:
    records = [make("a", status="failed", reason="boom"), make("b")]
    column = only(records, "a", "b")

    assert column.comparison == "failed"
    assert "no test: failed" in write_text(compare_rows(records, "a", "b"))


# ---- how it reads


def test_the_text_is_a_table_and_a_paragraph_a_column(tmp_path: Path) -> None:
    records = [*predict_all(tmp_path, "a", 0.6), *predict_all(tmp_path, "b", 0.5)]
    head, table, details = write_text(compare_rows(records, "a", "b", folder=tmp_path)).split("\n\n")

    assert head.startswith(
        "A is a/resnet18, B is b/resnet18. Means with 95 % intervals; t over seeds and shared"
    )
    assert len(table.splitlines()) == 3
    assert "would settle it" in table
    assert details.splitlines()[0] == "top1:"
    assert len(details.splitlines()) == 4
    assert details.splitlines()[2].startswith("  right in every seed of A alone: ")
    assert "\x1b" not in details


def test_json_has_all_of_it_and_no_nan(tmp_path: Path) -> None:
    records = [*predict_all(tmp_path, "a", 0.6), *predict_all(tmp_path, "b", 0.5)]
    value = json.loads(write_json(compare_rows(records, "a", "b", folder=tmp_path, most=1)))
    (column,) = value["columns"]

    assert (value["a"], value["b"], column["test"], column["settles"]) == (
        "a/resnet18",
        "b/resnet18",
        BOTH,
        SETTLED,
    )
    assert column["low"] < column["difference"] < column["high"]
    assert column["a"]["interval"] == "over seeds and test images"
    assert [set(image) for image in column["images"]] == [{"index", "class", "right", "said"}] * 2
    infinite = [make("a", float("inf")), make("b", 1.0)]
    assert json.loads(write_json(compare_rows(infinite, "a", "b")))["columns"][0]["a"]["mean"] == "inf"


def invoke(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["compare", *words, "--results", str(folder)])


def test_the_command_prints_text_or_json_and_refuses_in_one_line(tmp_path: Path) -> None:
    for record in (make("a", 70.0), make("b", 80.0)):
        RecordStore(tmp_path).write(record)
    text, as_json = (
        invoke(tmp_path, "a", "b"),
        invoke(tmp_path, "a", "b", "--format", "json", "--metric", "nll"),
    )
    refused = invoke(tmp_path, "a", "c")

    assert text.stdout.startswith("A is a/resnet18, B is b/resnet18.")
    assert json.loads(as_json.stdout)["columns"][0]["metric"] == "nll"
    assert (text.exit_code, as_json.exit_code, refused.exit_code) == (0, 0, 2)
    assert refused.stderr.startswith("Error: compare: no row is named 'c'.")
    assert len(refused.stderr.splitlines()) == 1
    assert invoke(tmp_path / "nothing", "a", "b").exit_code == 2

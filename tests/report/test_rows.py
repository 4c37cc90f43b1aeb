from __future__ import annotations

from typing import Any

from stored_results import make_record

from bench.report.rows import choose_test_sets


def record(method: str = "simclr", value: float = 70.0, **changes: Any) -> dict[str, Any]:
    metrics = {"top1": {"value": value, "n": 360}, "ece": {"value": 5.0, "n": 360}}
    return make_record(method, **{"metrics": metrics, **changes})


def without_ece(method: str = "simclr", **changes: Any) -> dict[str, Any]:
    return record(method, metrics={"top1": {"value": 70.0, "n": 360}}, **changes)


def test_a_row_has_the_records_that_differ_in_their_seed_alone_the_best_row_first() -> None:
    records = [record("simclr", 60, seed=1), record("vicreg", 70), record("simclr", 62, seed=0)]
    (test_set,) = choose_test_sets(records)

    assert [row.name for row in test_set.rows] == ["vicreg", "simclr"]
    assert [one["cell"]["seed"] for one in test_set.rows[1].records] == [0, 1]
    assert test_set.rows[1].score == 61


def test_the_task_that_most_rows_have_is_shown() -> None:
    records = [record("simclr", evaluator="linear"), without_ece(evaluator="knn")]
    records.append(make_record("vicreg", evaluator="knn", metrics={"top1": {"value": 1.0, "n": 1}}))
    (test_set,) = choose_test_sets(records)

    assert test_set.task.name == "knn"
    assert test_set.task.count == 2


def test_of_as_many_rows_the_calibrated_task_is_shown_and_then_the_one_with_most_labels() -> None:
    shares = [record(evaluator="linear", label_frac=share) for share in (0.01, 0.1)]
    (test_set,) = choose_test_sets([without_ece(evaluator="knn"), *shares])

    assert test_set.task.name == "linear, 10 % of labels"


def test_where_the_shown_task_has_no_probabilities_another_shows_calibration() -> None:
    votes = [without_ece(method=method, evaluator="knn") for method in ("simclr", "pixels")]
    (test_set,) = choose_test_sets(
        [*votes, record(evaluator="linear"), record(evaluator="mlp", label_frac=0.1)]
    )

    assert test_set.task.name == "knn"
    assert test_set.calibrated is not None
    assert test_set.calibrated.name == "linear"
    assert [row.name for row in test_set.calibrated.rows] == ["simclr"]


def test_a_task_of_which_one_record_has_no_probabilities_is_not_calibrated() -> None:
    (test_set,) = choose_test_sets([record(evaluator="linear"), without_ece("vicreg", evaluator="linear")])

    assert test_set.calibrated is None


def test_where_no_task_has_probabilities_none_is_calibrated() -> None:
    (test_set,) = choose_test_sets([without_ece(evaluator="knn")])

    assert test_set.calibrated is None


def test_rows_are_told_apart_by_what_differs_between_them_and_no_more() -> None:
    config = make_record()["config"]
    records = [
        record(backbone=backbone, config={**config, "method": {"temperature": value}},
               settings={"method.temperature": value},
               keys={"score": f"{backbone}{value}", "features": {"test": "f"}})
        for backbone in ("resnet18", "resnet50") for value in (0.1, 0.5)
    ]  # fmt: skip
    (test_set,) = choose_test_sets(records)

    assert {row.name for row in test_set.rows} == {
        "simclr, resnet18, method.temperature=0.1", "simclr, resnet18, method.temperature=0.5",
        "simclr, resnet50, method.temperature=0.1", "simclr, resnet50, method.temperature=0.5",
    }  # fmt: skip


def test_each_data_set_is_a_test_set_and_so_is_another_state_of_it() -> None:
    changed = record()
    other = {**changed["config"]["eval_dataset"], "fingerprint": "other"}
    changed = record("vicreg", config={**changed["config"], "eval_dataset": other})
    sets = choose_test_sets([record(), record(eval_dataset="mnist"), changed])

    assert [one.name for one in sets] == ["digits (0b7e9c)", "mnist", "digits (other)"]


def test_other_classes_of_one_data_set_are_a_test_set_of_their_own() -> None:
    sets = choose_test_sets([record(classes=["cat", "dog"]), record("vicreg", classes=["ship", "truck"])])

    assert [(one.classes, [row.name for row in one.rows]) for one in sets] == [
        (("cat", "dog"), ["simclr"]), (("ship", "truck"), ["vicreg"]),
    ]  # fmt: skip
    assert len({one.name for one in sets}) == 2


def test_shares_that_keep_an_image_of_each_class_are_averaged_with_no_others() -> None:
    def one(seed: int, *, keeps_one: bool) -> dict[str, Any]:
        made = record("simclr", 60.0 + 10 * keeps_one, seed=seed, label_frac=0.01)
        return {**made, "cell": {**made["cell"], "keep_one": True}} if keeps_one else made

    (test_set,) = choose_test_sets([one(s, keeps_one=kept) for s in (0, 1) for kept in (False, True)])
    (kept,) = choose_test_sets([one(0, keeps_one=True)])

    assert test_set.task.name == "linear, 1 % of labels"
    assert [(row.score, len(row.records)) for row in test_set.rows] == [(60.0, 2)]
    assert kept.task.name == "linear, 1 % of labels, one a class kept"


def test_of_very_many_rows_the_best_eight_are_shown() -> None:
    (test_set,) = choose_test_sets([record(f"method{n}", float(n)) for n in range(100)])

    assert [row.name for row in test_set.rows] == [f"method{n}" for n in range(99, 91, -1)]
    assert test_set.task.count == 100


def test_failed_records_and_those_without_an_accuracy_are_of_no_row() -> None:
    failed = {**record("vicreg"), "status": "failed", "metrics": {}}
    geometry = record("byol", metrics={"rankme": {"value": 5.0, "n": 360}})

    assert [row.name for one in choose_test_sets([record(), failed, geometry]) for row in one.rows] == [
        "simclr"
    ]
    assert choose_test_sets([]) == ()
    assert choose_test_sets([failed]) == ()

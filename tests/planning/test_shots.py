"""Shots as an axis beside label fractions: in cells, keys, records and tables."""

from __future__ import annotations

from pathlib import Path

from conftest import Lab
from photos import photos

from bench.planning.options import merge_options
from bench.reporting.table import table


def test_shots_are_an_axis_with_keys_of_their_own(lab: Lab) -> None:
    shares = lab.plan(label_frac=(0.5, 1.0))
    cells = lab.plan(label_frac=(0.5, 1.0), shots=(1, 5), evaluator=("knn", "geometry"))

    assert [(c.evaluator.name, c.shots, c.label_frac) for c in cells] == [
        ("knn", 1, None), ("knn", 5, None), ("knn", None, 0.5), ("knn", None, 1.0), ("geometry", None, None),
    ]  # fmt: skip
    assert len({cell.keys.score for cell in cells}) == 5
    assert {cell.keys.score for cell in shares} < {cell.keys.score for cell in cells}
    assert [cell.title.rpartition("knn ")[2] for cell in cells[:3]] == ["1 shot", "5 shots", "50 %"]


def test_shots_alone_are_all_that_is_asked_for() -> None:
    request = merge_options(None, {"shots": ("1,5",)}).request("float32")

    assert (request.shots, request.label_frac) == ((1, 5), ())
    assert merge_options(None, {}).request("float32").label_frac == (1.0,)


def test_a_fraction_that_needs_no_image_kept_has_the_key_that_it_had(lab: Lab) -> None:
    plain, kept = (lab.plan(label_frac=0.5, keep_one=one) for one in (False, True))

    assert plain[0].keys == kept[0].keys
    assert "keep_one" not in kept[0].names


def test_a_fraction_that_leaves_a_class_out_is_skipped_or_keeps_one(lab: Lab, tmp_path: Path) -> None:
    root = photos(tmp_path / "photos", {"train": 20, "test": 2})
    settings = {"dataset.max_train": None, "dataset.root": str(root)}
    for number in range(2, 20):
        (root / "train" / "cow" / f"{number}.png").unlink()
    axes = {"dataset": "image_folder", "label_frac": (0.1, 1.0), "keep_one": (False, True)}
    cells = lab.plan(settings, **axes)

    assert [(c.label_frac, c.names.get("keep_one"), bool(c.skip)) for c in cells] == [
        (0.1, None, True), (1.0, None, False), (0.1, True, False),
    ]  # fmt: skip


def test_a_method_that_uses_labels_sees_the_shots_that_it_is_evaluated_with(lab: Lab) -> None:
    (cell,) = lab.plan(method="supervised", shots=2, label_frac=())
    (record,) = lab.run([cell])

    assert (record["status"], cell.label_count) == ("ok", 20)
    assert record["protocol"]["training_images"] == 20
    assert record["cell"]["shots"] == 2


def test_a_table_heads_shots_and_shares(lab: Lab) -> None:
    records = lab.run(lab.plan(label_frac=(0.5, 1.0), shots=(1, 5), seed=(0, 1)))
    text = table(records, folder=lab.folder)
    heading = next(line for line in text.splitlines() if line.startswith("| method"))

    assert [part.strip() for part in heading.split("|")[2:-1]] == ["1 shot", "5 shots", "50 %", "100 %"]
    assert all(lab.store.find(record["cell"], record["keys"]["score"]) == record for record in records)

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from stored_results import digit_labels, digits, make_record, store
from svg_elements import elements, parse

from bench.contracts.dataset import Images
from bench.errors import UsageError
from bench.registry.registry import Registry
from bench.report.pictures import Pictures, Wanted, draw_pictures
from bench.report.stored import NotStored, image_loader
from bench.storage.artifacts import ArtifactStore
from bench.storage.records import RecordStore

NASTY = 'a<b & c|d $e\\f "g"'


def draw(folder: Path, *, images: bool = True, **wanted: Any) -> Pictures:
    load = image_loader(Registry.load(), {}, folder / "data") if images else None
    return draw_pictures(RecordStore(folder).records(), [folder], load, Wanted(**wanted))


def names(pictures: Pictures) -> list[str]:
    return [figure.name for figure in pictures.figures]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for method in ("simclr", "vicreg"):
        for seed in (0, 1):
            store(tmp_path, make_record(method, seed))
    return tmp_path


def test_a_results_folder_has_all_figures_and_nothing_is_missing(results: Path) -> None:
    pictures = draw(results, map_points=60)

    assert names(pictures) == [
        f"{kind}-digits" for kind in ("confusion", "recall", "calibration", "tsne", "neighbours", "views")
    ]
    assert pictures.missing == []
    assert all(len(row) == len(figure.columns) for figure in pictures.figures for row in figure.rows)
    assert all(parse(figure.svg).attrib["viewBox"] for figure in pictures.figures)
    assert not any("<script" in figure.svg for figure in pictures.figures)
    every = [one for figure in pictures.figures for one in elements(figure.svg)]
    ids = [one.attrib["id"] for one in every if "id" in one.attrib]

    assert len(ids) == len(set(ids)) >= 6
    assert sum(len(figure.svg) for figure in pictures.figures) < 300_000


def test_all_images_of_a_map_are_on_its_sheet_of_thumbnails(results: Path) -> None:
    pictures = draw(results, map_points=60)
    (sheet,) = pictures.sheets
    maps = pictures.figures[3]
    group = next(one for one in elements(maps.svg, "g") if one.attrib.get("class") == "maps")

    assert (sheet.count, sheet.side) == (60, 24)
    assert group.attrib["data-sheet"] == sheet.name
    assert f'id="sheet-{sheet.name}"' in sheet.to_html()


def test_without_images_there_are_maps_but_nothing_made_of_images(results: Path) -> None:
    pictures = draw(results, images=False, map_points=60)

    assert names(pictures) == ["confusion-digits", "recall-digits", "calibration-digits", "tsne-digits"]
    assert pictures.sheets == []
    assert 'data-sheet=""' in pictures.figures[3].svg


def test_maps_are_drawn_only_where_they_are_asked_for(results: Path) -> None:
    assert "tsne-digits" not in names(draw(results, images=False))


def test_a_map_is_made_once_and_anew_for_other_images(tmp_path: Path) -> None:
    record = store(tmp_path, make_record())
    first = draw(tmp_path, images=False, map_points=60).figures[-1]
    store(tmp_path, record, noise=3.0)  # other features under the same key, as nobody writes them
    again = draw(tmp_path, images=False, map_points=60).figures[-1]
    more = draw(tmp_path, images=False, map_points=90).figures[-1]

    assert again == first
    assert more.rows != first.rows
    assert len(list((tmp_path / "artifacts").glob("*/map.safetensors"))) == 2


def test_a_folder_that_may_only_be_read_has_its_maps_made_each_time(results: Path) -> None:
    (results / "artifacts" / ".work").rmdir()
    (results / "artifacts" / ".work").write_text("in the way, also of one who may do everything")

    assert "tsne-digits" in names(draw(results, images=False, map_points=60))


def test_artifacts_are_found_in_each_of_several_folders_and_maps_are_kept_beside_their_features(
    tmp_path: Path,
) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    records = [store(folder, make_record(method)) for folder, method in zip(folders, "xy", strict=True)]
    pictures = draw_pictures(records, folders, None, Wanted(map_points=60))
    kept = [len(list(folder.glob("artifacts/*/map.safetensors"))) for folder in folders]

    assert pictures.missing == []
    assert [row[0] for row in pictures.figures[-1].rows] == ["x", "y"]
    assert kept == [1, 1]


def test_what_is_missing_of_a_row_is_said_and_the_others_are_drawn(tmp_path: Path) -> None:
    store(tmp_path, make_record("simclr"))
    store(tmp_path, make_record("vicreg"), predictions=False, features=False)
    pictures = draw(tmp_path)

    assert pictures.missing == [
        "digits: vicreg, linear, seed 0: its predictions are not stored.",
        "digits: vicreg, linear, seed 0: its features are not stored.",
    ]
    assert {row[0] for row in pictures.figures[0].rows} == {"simclr"}


def flip(path: Path) -> None:
    """Flip a bit of the last numbers in a file."""
    content = bytearray(path.read_bytes())
    content[-3] ^= 64
    path.write_bytes(content)


def test_features_with_a_flipped_bit_are_not_drawn_and_it_is_said(tmp_path: Path) -> None:
    record = store(tmp_path, make_record())
    flip(tmp_path / "artifacts" / record["keys"]["features"]["test"] / "features.safetensors")
    pictures = draw(tmp_path, map_points=60)

    assert "tsne-digits" not in names(pictures)
    assert pictures.missing == [
        "digits: simclr, linear, seed 0: its features are not what was written, or of no use."
    ]


def test_a_map_with_a_flipped_bit_is_made_again(tmp_path: Path) -> None:
    store(tmp_path, make_record())
    first = draw(tmp_path, images=False, map_points=60).figures[-1].svg
    (kept,) = tmp_path.glob("artifacts/*/map.safetensors")
    flip(kept)

    assert draw(tmp_path, images=False, map_points=60).figures[-1].svg == first


def test_a_map_of_another_number_of_images_is_made_again(tmp_path: Path) -> None:
    store(tmp_path, make_record())
    first = draw(tmp_path, images=False, map_points=60).figures[-1].svg
    (kept,) = tmp_path.glob("artifacts/*/map.safetensors")
    with ArtifactStore(tmp_path).write(kept.parent.name) as work:
        save_file({"points": np.zeros((5, 2)), "numbers": np.zeros(3)}, work / "map.safetensors")

    assert draw(tmp_path, images=False, map_points=60).figures[-1].svg == first


N = len(digit_labels())


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (np.ones((20, 4), np.float32), digit_labels()),
        (np.ones((N, 4), np.float32), digit_labels() - 1),
        (np.ones((N, 4), np.float32), digit_labels() + 2**40),
        (np.ones((N, 4), np.float32), digit_labels().astype(np.float32)),
        (np.ones(N, np.float32), digit_labels()),
        (np.ones((N, 4), np.int32), digit_labels()),
        (np.ones((0, 4), np.float32), digit_labels()[:0]),
    ],
    ids=["fewer rows", "labels of -1", "labels of 2**40", "fractions as labels", "one number each",
         "whole numbers", "none"],
)  # fmt: skip
def test_features_that_are_not_of_the_test_images_are_not_drawn_and_it_is_said(
    tmp_path: Path, x: Any, y: Any
) -> None:
    record = store(tmp_path, make_record())
    with ArtifactStore(tmp_path).write(record["keys"]["features"]["test"]) as work:
        save_file({"x": x, "y": y}, work / "features.safetensors")
    pictures = draw(tmp_path, map_points=60)

    assert "tsne-digits" not in names(pictures)
    assert pictures.missing == ["digits: the features of simclr are not of the record's test images."]


def test_predictions_that_are_not_as_often_right_as_the_record_says_are_not_drawn(tmp_path: Path) -> None:
    record = store(tmp_path, make_record(), features=False)
    metrics = {**record["metrics"], "top1": {**record["metrics"]["top1"], "value": 71.0}}
    RecordStore(tmp_path).write({**record, "metrics": metrics})
    pictures = draw(tmp_path, images=False)

    assert pictures.figures == []
    assert (
        "digits: simclr, linear, seed 0: its predictions are not as often right as its record says."
        in pictures.missing
    )


def test_a_folder_with_records_alone_says_what_is_missing_and_draws_their_views(tmp_path: Path) -> None:
    store(tmp_path, make_record(), predictions=False, features=False)
    pictures = draw(tmp_path, map_points=60)

    assert names(pictures) == ["views-digits"]
    assert len(pictures.missing) == 2


def test_a_folder_without_records_has_no_figures(tmp_path: Path) -> None:
    assert draw(tmp_path) == Pictures()


def test_votes_have_no_calibration_and_it_is_said(tmp_path: Path) -> None:
    votes = make_record(evaluator="knn", metrics={"top1": {"value": 70.0, "n": 360}})
    store(tmp_path, votes, confidence=False)
    pictures = draw(tmp_path, images=False)

    assert names(pictures) == ["confusion-digits", "recall-digits"]
    assert pictures.missing == [
        "digits: no evaluator says probabilities, so there is no calibration to draw."
    ]


def test_calibration_is_of_the_evaluator_that_has_probabilities(tmp_path: Path) -> None:
    votes = {"evaluator": "knn", "metrics": {"top1": {"value": 70.0, "n": 360}}}
    for method in ("simclr", "vicreg"):
        store(tmp_path, make_record(method, **votes), confidence=False)
    store(tmp_path, make_record("simclr"))
    figures = draw(tmp_path, images=False).figures

    assert [figure.title for figure in figures] == [
        "Confusion on digits (knn)", "Recall of each class of digits (knn)", "Calibration on digits (linear)"
    ]  # fmt: skip


def test_predictions_of_older_runs_have_no_confidences_and_it_is_said(tmp_path: Path) -> None:
    store(tmp_path, make_record(), confidence=False)
    pictures = draw(tmp_path, images=False)

    assert names(pictures) == ["confusion-digits", "recall-digits"]
    assert "the predictions of linear were stored without confidences: run it again." in pictures.missing[0]


def test_a_row_that_was_tested_on_other_images_is_left_out(tmp_path: Path) -> None:
    store(tmp_path, make_record("simclr", metrics={"top1": {"value": 80.0, "n": 360}}))
    store(tmp_path, make_record("vicreg"), labels=digit_labels()[::-1].copy())
    pictures = draw(tmp_path, images=False, map_points=60)

    assert {row[0] for figure in pictures.figures[::3] for row in figure.rows} == {"simclr"}
    assert "vicreg was tested on other images" in pictures.missing[0]
    assert "vicreg has features of other images" in " ".join(pictures.missing)


def test_predictions_of_other_classes_than_the_records_are_refused(tmp_path: Path) -> None:
    store(tmp_path, make_record(), features=False)
    record = store(
        tmp_path, make_record("vicreg", classes=["a", "b"]), labels=np.array([0, 1, 5]), features=False
    )
    pictures = draw(tmp_path, images=False)

    assert record["classes"] == ["a", "b"]
    assert "predictions are not of the record's 2 classes" in " ".join(pictures.missing)


def test_one_seed_and_one_class_are_drawn(tmp_path: Path) -> None:
    store(tmp_path, make_record(classes=["only"]), labels=np.zeros(40, dtype=np.int64))
    pictures = draw(tmp_path, images=False, map_points=30)

    assert names(pictures) == ["confusion-digits", "recall-digits", "calibration-digits", "tsne-digits"]


def test_a_collapsed_network_has_no_map_and_it_is_said(tmp_path: Path) -> None:
    record = store(tmp_path, make_record())
    with ArtifactStore(tmp_path).write(record["keys"]["features"]["test"]) as work:
        save_file(
            {"x": np.ones((len(digit_labels()), 4), dtype=np.float32), "y": digit_labels()},
            work / "features.safetensors",
        )
    pictures = draw(tmp_path, images=False, map_points=60)

    assert "tsne-digits" not in names(pictures)
    assert "no map of simclr: all features are alike: the network has collapsed." in pictures.missing[0]


def test_a_network_with_infinite_features_has_no_neighbours_and_it_is_said(results: Path) -> None:
    record = next(one for one in RecordStore(results).records() if one["cell"]["method"] == "vicreg")
    x = np.ones((len(digit_labels()), 12), dtype=np.float32)
    x[5] = np.inf
    with ArtifactStore(results).write(record["keys"]["features"]["test"]) as work:
        save_file({"x": x, "y": digit_labels()}, work / "features.safetensors")
    pictures = draw(results)
    (figure,) = [figure for figure in pictures.figures if figure.name == "neighbours-digits"]

    assert not any("vicreg" in str(row) for row in figure.rows)
    assert pictures.missing == ["digits: no neighbours of vicreg: some features are no finite numbers."]


def test_names_with_letters_of_markup_are_drawn_as_they_are(tmp_path: Path) -> None:
    classes = [f"{n} {NASTY}" for n in range(9)] + ["bell \x07 escape \x1b"]
    store(tmp_path, make_record(NASTY, classes=classes))
    pictures = draw(tmp_path, map_points=60)
    titles = {one.text for figure in pictures.figures for one in elements(figure.svg, "title")}

    assert len(pictures.figures) == 6
    assert any(title and NASTY in title for title in titles)


def test_images_that_changed_since_are_not_shown(tmp_path: Path) -> None:
    config = make_record()["config"]
    changed = {**config, "eval_dataset": {**config["eval_dataset"], "fingerprint": "other"}}
    store(tmp_path, make_record(config=changed))
    pictures = draw(tmp_path)

    assert "neighbours-digits" not in names(pictures)
    assert pictures.missing == ["digits: no test images: those of digits are others than the records are of."]


@pytest.mark.parametrize(
    ("eval_dataset", "reason"),
    [("nowhere", "no dataset is named 'nowhere'"), ("image_folder", "Set --root image_folder=FOLDER")],
)
def test_a_data_set_that_cannot_be_opened_is_a_sentence(
    tmp_path: Path, eval_dataset: str, reason: str
) -> None:
    store(tmp_path, make_record(eval_dataset=eval_dataset))

    assert reason in draw(tmp_path).missing[0]


def test_loaded_images_are_those_of_the_test_split(tmp_path: Path) -> None:
    load = image_loader(Registry.load(), {}, tmp_path)
    images = load(make_record())

    assert isinstance(images, Images)
    assert torch.equal(images.pixels, digits().load("test").pixels)
    with pytest.raises(NotStored):
        load(make_record(eval_dataset="nowhere"))


def test_views_are_of_methods_that_were_trained_on_the_same_data(tmp_path: Path) -> None:
    store(tmp_path, make_record("simclr"))
    store(tmp_path, make_record("vicreg", dataset="mnist", eval_dataset="digits"))
    views = draw(tmp_path).figures[-1]

    assert [row[0].split(",")[0] for row in views.rows] == ["simclr"]


def test_data_sets_whose_names_differ_in_signs_alone_have_figures_of_different_names(tmp_path: Path) -> None:
    for name in ("my data", "my-data", "my_data"):
        store(tmp_path, make_record(eval_dataset=name), features=False)

    drawn = [name for name in names(draw(tmp_path, images=False)) if name.startswith("confusion")]

    assert drawn == ["confusion-my-data", "confusion-my-data-2", "confusion-my-data-3"]


def test_ten_thousand_cells_have_the_figures_of_the_best_rows(tmp_path: Path) -> None:
    kept = store(tmp_path, make_record("best", metrics={"top1": {"value": 99.0, "n": 360}}))
    metrics = {"top1": {"value": 50.0, "n": 360}}
    others = [make_record(f"method{n}", seed, metrics=metrics) for n in range(2000) for seed in range(5)]
    pictures = draw_pictures([kept, *others], [tmp_path], None, Wanted())

    assert {row[0] for row in pictures.figures[0].rows} == {"best"}
    assert pictures.missing[0] == "digits: of 2001 rows the 8 most accurate are drawn."
    assert len(pictures.missing) < 20


@pytest.mark.parametrize("points", [-1, 29, 5001])
def test_a_number_of_images_that_no_map_can_have_is_refused(points: int) -> None:
    with pytest.raises(UsageError, match=r"--maps: .* Use 30 to 5000"):
        Wanted(map_points=points)


def test_an_unknown_kind_of_map_is_refused() -> None:
    with pytest.raises(UsageError, match="--map"):
        Wanted(map_kind="pca")


def test_views_with_a_setting_of_another_bench_are_not_drawn_and_it_is_said(tmp_path: Path) -> None:
    record = make_record()
    record["config"]["views"] = [{"sharpen": 2.0}]
    store(tmp_path, record)
    pictures = draw(tmp_path)

    assert "views-digits" not in names(pictures)
    assert pictures.missing[0].startswith("digits: no views of simclr: ")
    assert "sharpen" in pictures.missing[0]


def test_what_is_missing_is_said_once() -> None:
    pictures = Pictures()
    for sentence in ("no images", "no images.", "no features"):
        pictures.tell(sentence)

    assert pictures.missing == ["no images.", "no features."]

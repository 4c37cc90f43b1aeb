"""Training curves are what the trainings logged: means over seeds, bands, each seed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from report_pages import Build, epochs, trained, untrained

from bench.report import curves
from bench.report.curves import build_curves
from bench.report.section import Section

Records = list[dict[str, Any]]


def logged(records: Records, *logs: Records) -> tuple[Records, dict[str, Records]]:
    return records, {r["keys"]["backbone"]: log for r, log in zip(records, logs, strict=False)}


def numbers(section: Section, name: str) -> dict[str, tuple[Any, ...]]:
    (figure,) = [one for one in section.figures if one.name == name]
    return {row[0]: row[1:] for row in figure.rows}


def make(build: Build, *args: Any) -> Section:
    results, _, names = build(*args)
    return build_curves(results, names)


def test_seeds_are_averaged_and_their_deviation_is_the_band(build: Build) -> None:
    records = [trained(seed=0), trained(seed=1)]
    section = make(build, *logged(records, epochs(2, loss=[4.0, 2.0]), epochs(2, loss=[6.0, 3.0])))

    assert numbers(section, "curve-loss") == {"simclr": (2, "5 ± 1.4", "2.5 ± 0.71")}
    assert 'class="single"' in section.figures[0].svg
    assert "fill-opacity" in section.figures[0].svg


def test_epochs_that_not_every_seed_has_are_in_no_mean(build: Build) -> None:
    records = [trained(seed=0), trained(seed=1)]
    section = make(build, *logged(records, epochs(3, loss=[4.0, 2.0, 1.0]), epochs(2, loss=[6.0, 3.0])))

    assert numbers(section, "curve-loss")["simclr"] == (2, "5 ± 1.4", "2.5 ± 0.71")


def test_numbers_that_are_not_finite_leave_a_gap(build: Build) -> None:
    section = make(build, *logged([trained()], epochs(3, loss=[4.0, math.nan, math.inf], lr=math.nan)))

    assert numbers(section, "curve-loss") == {"simclr": (1, "4")}
    assert not [one for one in section.figures if one.name == "curve-lr"]


ODD = {"enormous": 10**400, "1e308": 1e308, "-1e308": -1e308, "true": True, "text": "x", "none": None}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_numbers_too_large_to_be_drawn_leave_a_gap(build: Build, odd: Any) -> None:
    records = [trained(seed=seed) for seed in (0, 1)]
    logs = [epochs(3, loss=[4.0, odd, 2.0]) for _ in records]
    shown = numbers(make(build, *logged(records, *logs)), "curve-loss")["simclr"]

    assert shown[0] == 2
    assert (shown[1], shown[-1]) == ("4 ± 0", "2 ± 0")
    assert len(shown) == 3 or odd is True


def test_what_all_log_comes_first_then_the_terms(
    build: Build,
) -> None:
    records = [trained("simclr"), trained("vicreg")]
    logs = (epochs(2, loss=2.0, term=2.0), epochs(2, loss=3.0, term=2.0))
    section = make(build, *logged(records, *logs))
    names = [one.name for one in section.figures]

    assert names == ["curve-loss", "curve-z-std", "curve-lr", "curve-images-per-s", "curve-term"]
    assert [
        one.name for one in make(build, *logged(records[:1], logs[0])).figures if one.name == "curve-term"
    ]


def test_a_term_that_is_the_whole_loss_of_its_only_method_is_left_out(build: Build) -> None:
    section = make(build, *logged([trained()], epochs(2, loss=[3.0, 1.0], term=[3.0, 1.0])))

    assert "curve-term" not in [one.name for one in section.figures]


def test_trainings_with_other_settings_are_lines_of_their_own(build: Build) -> None:
    records = [trained(settings={"train.lr": lr}) for lr in (0.1, 0.5)]
    section = make(build, *logged(records, epochs(2, loss=1.0), epochs(2, loss=2.0)))

    assert set(numbers(section, "curve-loss")) == {"simclr / train.lr=0.1", "simclr / train.lr=0.5"}


def test_trainings_on_other_data_or_networks_are_chosen_from(build: Build) -> None:
    records = [trained(backbone=backbone) for backbone in ("resnet18", "resnet50")]
    section = make(build, *logged(records, epochs(2), epochs(2)))

    assert {choice["training"] for choice in section.choices.values()} == {"resnet18", "resnet50"}


def test_a_training_per_share_of_the_labels_says_its_share(build: Build) -> None:
    records = [
        trained("supervised", label_frac=share, protocol={"training_labels": share},
                keys={"backbone": f"b{share}", "score": f"s{share}"})
        for share in (0.1, 1.0)
    ]  # fmt: skip
    section = make(build, *logged(records, epochs(2), epochs(2)))

    assert set(numbers(section, "curve-loss")) == {"supervised / 10 % of the labels", "supervised"}


def test_networks_that_no_setting_tells_apart_are_told_apart_by_key(build: Build) -> None:
    records = [trained(keys={"backbone": f"{n}" * 20, "score": f"s{n}"}) for n in (1, 2)]
    section = make(build, *logged(records, epochs(2), epochs(2)))

    assert set(numbers(section, "curve-loss")) == {"simclr / 11111111", "simclr / 22222222"}


def test_a_long_curve_is_drawn_with_fewer_points_and_its_table_shows_some_epochs(build: Build) -> None:
    section = make(build, *logged([trained()], epochs(5000, loss=[5000.0 - n for n in range(5000)])))
    figure = section.figures[0]

    assert len(figure.svg) < 6000
    assert figure.columns == (
        "training",
        "seeds",
        "epoch 1",
        *(f"epoch {1 + round(n * 999.8)}" for n in range(1, 5)),
        "epoch 5000",
    )


def test_records_without_artifacts_say_what_is_missing(build: Build) -> None:
    section = make(build, [trained(), untrained()])

    assert not section.figures
    assert "1 of 1 trainings has no metrics.jsonl" in " ".join(section.notes)


def test_part_of_the_artifacts_is_drawn_and_the_rest_is_counted(build: Build) -> None:
    section = make(build, *logged([trained(seed=0), trained(seed=1)], epochs(2)))

    assert numbers(section, "curve-loss")["simclr"][0] == 1
    assert "1 of 2 trainings has no metrics.jsonl" in " ".join(section.notes)


def test_where_nothing_is_trained_nothing_is_missing(build: Build) -> None:
    assert make(build, [untrained()]).notes[1] == "Nothing was trained."


def test_charts_that_there_is_no_room_for_are_named(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "LIMIT", 6_000)
    section = make(build, *logged([trained()], epochs(3, loss=[3.0, 2.0, 1.0])))

    assert section.figures[0].name == "curve-loss"
    assert len(section.figures) < 4
    assert "Left out to keep the page small: " in section.notes[2]


def test_a_section_of_no_figures_needs_no_folder(build: Build, tmp_path: Path) -> None:
    make(build, [trained()])

    assert not (tmp_path / "results" / "artifacts").exists()

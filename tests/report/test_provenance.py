"""A report says how its records were made."""

from __future__ import annotations

from report_pages import Build, Node, parse, rows_of, trained, untrained

from bench.report import provenance
from bench.report.provenance import build_provenance


def page(build: Build, *records: object) -> Node:
    return parse(build_provenance(build(list(records))[0]).body)


def table(node: Node, caption: str) -> list[list[str]]:
    (found,) = [one for one in node.all("table") if one.one("caption").text == caption]
    return rows_of(found)[1:]


def test_the_commands_are_shown_as_they_are_typed(build: Build) -> None:
    node = page(build, trained(settings={"method.name": "<b>&'"}))

    assert node.one("code").text.startswith("bench run --method simclr --backbone resnet18 --dataset digits")
    assert "<b>&" in node.one("code").text


def test_a_version_that_all_share_is_said_once_and_others_with_their_counts(build: Build) -> None:
    old = {"bench": "0.1.0", "packages": {"torch": "2.4"}, "git_commit": "abc", "git_dirty": True}
    rows = dict(table(page(build, trained(), trained(seed=1), trained(seed=2, provenance=old)),
                      "Code, packages, devices and data"))  # fmt: skip

    assert rows["bench"] == "0.1.0"
    assert rows["packages: torch"] == "2.5 (2 cells); 2.4 (1 cells)"
    assert rows["commit"] == "abc (2 cells); abc, changed (1 cells)"
    assert rows["threads"] == "1"


def test_settings_that_differ_are_told_from_those_that_do_not(build: Build) -> None:
    records = [trained(settings={"train.lr": lr, "train.batch_size": 64}) for lr in (0.5, 0.1)]
    rows = table(page(build, *records), "Settings that were set, and that differ")

    assert ["train.lr", "0.1; 0.5", "yes"] in rows
    assert ["train.batch_size", "64", "no"] in rows


def test_each_recipe_is_shown_once_and_none_of_what_is_not_trained(build: Build) -> None:
    records = [trained(seed=0), trained(seed=1), trained(settings={"train.lr": 0.5}), untrained()]
    rows = table(page(build, *records), "What each method was trained with")

    assert [row[0] for row in rows] == ["simclr", "simclr"]
    assert sorted(row[1:] for row in rows) == [["3", "0.5"], ["3", "–"]]


def test_what_evaluators_did_is_shown_with_what_was_chosen(build: Build) -> None:
    records = [
        trained(seed=seed, protocol={"features": "frozen", "k": k}) for seed, k in ((0, 5), (1, 5), (2, 20))
    ]
    rows = table(page(build, *records), "What each evaluator did")

    assert rows == [["knn", "features", "frozen"], ["knn", "k", "5 (2 cells); 20 (1 cells)"]]


def test_many_values_are_counted_and_not_listed(build: Build) -> None:
    records = [trained(seed=seed, protocol={"val_top1": float(seed)}) for seed in range(20)]
    ((_, _, text),) = table(page(build, *records), "What each evaluator did")

    assert text.count(";") == provenance.MOST_VALUES
    assert text.endswith("and 12 more")


def test_records_that_say_nothing_of_themselves_are_no_error(build: Build) -> None:
    bare = trained(provenance={}, cost={}, protocol={}, config={})

    assert "do not say what they were made with" in page(build, bare).text

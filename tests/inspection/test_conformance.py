"""A plugin is checked by its name, as it is set, on the author's files and backbone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.errors import BadValue, UnknownName, UsageError
from bench.inspection.conformance import Report, Verdict, check_plugins, format_verdict, list_checked
from bench.registry.registry import Registry
from bench.testing import Outcome

REGISTRY = Registry.load()


def given(
    name: str, *settings: str, monkeypatch: pytest.MonkeyPatch, kind: str | None = None, **options: Any
) -> list[dict[str, Any]]:
    """Return what the kit is called with."""
    called: list[dict[str, Any]] = []

    def note(kind: str, cls: type[Any], name: str, **options: Any) -> list[Outcome]:
        called.append({"kind": kind, "cls": cls, "name": name, **options})
        return [Outcome("noted")]

    monkeypatch.setattr("bench.inspection.conformance.check", note)
    entries = list_checked(REGISTRY, name, kind)
    verdicts = list(check_plugins(REGISTRY, entries, settings, **options))

    assert [verdict.outcome.name for verdict in verdicts] == ["noted"] * len(entries)
    return called


def test_settings_are_those_of_the_kind_or_of_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    (call,) = given("simclr", "method.temperature=0.3", "simclr.embedding_dim=8", monkeypatch=monkeypatch)

    assert (call["config"].temperature, call["config"].embedding_dim) == (0.3, 8)
    assert "networks" not in call


def test_without_settings_the_defaults_are_checked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    (call,) = given("simclr", monkeypatch=monkeypatch)

    assert call["config"] is None


def test_a_protocol_is_that_of_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    (of_name,) = given("knn", "knn.protocol=default", monkeypatch=monkeypatch)
    (of_kind,) = given("knn", "evaluator.protocol=default", "knn.k=3", monkeypatch=monkeypatch)

    assert of_name["config"] == of_name["cls"].Config()
    assert of_kind["config"] == of_name["cls"].Config(k=3)


def test_an_executor_is_checked_as_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    (call,) = given("slurm", "slurm.backbones=3", monkeypatch=monkeypatch)

    assert call["config"].backbones == 3


def test_a_method_is_checked_on_the_backbone_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    (call,) = given("simclr", "backbone.stem=standard", monkeypatch=monkeypatch, backbone="test_resnet")
    (network,) = call["networks"]

    assert network.title == "test_resnet"
    assert network.build(1).built_for[2] == 1
    assert network.build(3).built_for[1].stem == "standard"


def test_a_method_that_goes_with_one_backbone_is_checked_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    (call,) = given("pixels", monkeypatch=monkeypatch, kind="methods")

    assert [network.title for network in call["networks"]] == [call["cls"].fixed_backbone]


def test_a_dataset_is_checked_on_the_files_of_its_author(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (root,) = given("image_folder", f"dataset.root={tmp_path}", monkeypatch=monkeypatch)
    (downloads,) = given("mnist", monkeypatch=monkeypatch, data_dir=tmp_path)
    (none,) = given("mnist", monkeypatch=monkeypatch)

    assert root["location"].root == tmp_path
    assert downloads["location"].data_dir == tmp_path
    assert "location" not in none


def test_a_name_of_two_kinds_is_checked_as_both_or_as_the_one_that_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert [call["kind"] for call in given("pixels", monkeypatch=monkeypatch)] == ["methods", "backbones"]
    assert [call["kind"] for call in given("pixels", monkeypatch=monkeypatch, kind="backbones")] == [
        "backbones"
    ]


@pytest.mark.parametrize(
    ("name", "settings", "options", "error", "message"),
    [
        (
            "simclr",
            ["method.tempature=1"],
            {},
            UnknownName,
            "no setting named 'tempature'. Did you mean 'temperature'",
        ),
        ("simclr", ["knn.k=3"], {}, UnknownName, "nothing that is checked is named 'knn'"),
        ("simclr", ["method.temperature=-1"], {}, BadValue, "simclr.temperature: -1 is out of range"),
        ("simclr", ["method.temperature=1,2"], {}, BadValue, "it has 2 values. Check one at a time"),
        ("simclr", ["temperature"], {}, BadValue, "is not PART.FIELD=VALUE"),
        ("knn", ["knn.protocol=odd"], {}, UnknownName, "knn has no protocol named 'odd'"),
        (
            "simclr",
            ["method.recipe=default"],
            {},
            BadValue,
            "--set method.recipe: a method is checked with its own recipe. Leave it out.",
        ),
        ("simclr", [], {"data_dir": Path("x")}, BadValue, "--data-dir x: no dataset is checked"),
        ("knn", [], {"backbone": "resnet18"}, BadValue, "--backbone resnet18: no method is checked"),
        ("simclr", [], {"backbone": "resnet1888"}, UnknownName, "no backbone is named 'resnet1888'"),
    ],
)
def test_what_does_not_apply_is_refused(
    name: str, settings: list[str], options: dict[str, Any], error: type[UsageError], message: str
) -> None:
    entries = list_checked(REGISTRY, name, None)

    with pytest.raises(error, match=message):
        next(check_plugins(REGISTRY, entries, settings, **options))


def test_a_kind_that_is_not_checked_is_refused() -> None:
    with pytest.raises(
        BadValue, match=r"--kind format: there are no checks of it\. Known: backbone, dataset"
    ):
        list_checked(REGISTRY, "csv", "formats")


OK, WRONG = Outcome("is right"), Outcome("is wrong", "it is wrong: mend it")
ABSENT = Outcome("is there", skipped="it is not")


def report_of(*outcomes: Outcome) -> Report:
    return Report([Verdict("method", "it", outcome) for outcome in outcomes])


@pytest.mark.parametrize(
    ("outcomes", "passed", "text"),
    [
        ((OK, ABSENT), True, "1 ok, 0 failed, 1 skipped."),
        ((OK, WRONG), False, "1 ok, 1 failed, 0 skipped."),
        ((ABSENT, ABSENT), False, "0 ok, 0 failed, 2 skipped. Nothing was checked, which is a failure."),
        ((), False, "0 ok, 0 failed, 0 skipped. Nothing was checked, which is a failure."),
    ],
)
def test_a_report_passes_where_something_was_checked_and_nothing_failed(
    outcomes: tuple[Outcome, ...], *, passed: bool, text: str
) -> None:
    report = report_of(*outcomes)

    assert (report.passed, report.text) == (passed, text)


def test_a_report_for_ci_has_every_check_with_its_reason() -> None:
    read = json.loads(report_of(OK, WRONG, ABSENT).as_json())

    assert {key: read[key] for key in ("passed", "ok", "failed", "skipped")} == {
        "passed": False, "ok": 1, "failed": 1, "skipped": 1,
    }  # fmt: skip
    assert [(check["check"], check["state"], check["reason"]) for check in read["checks"]] == [
        ("is right", "ok", None),
        ("is wrong", "failed", "it is wrong: mend it"),
        ("is there", "skipped", "it is not"),
    ]
    assert {(check["kind"], check["plugin"]) for check in read["checks"]} == {("method", "it")}


def test_a_line_says_why_and_of_which_where_there_are_two() -> None:
    assert format_verdict(Verdict("method", "it", OK), alone=True) == "ok      is right"
    assert format_verdict(Verdict("method", "it", ABSENT), alone=True) == "skipped is there: it is not"
    assert format_verdict(Verdict("method", "it", WRONG), alone=False) == (
        "FAILED  method it: is wrong: it is wrong: mend it"
    )

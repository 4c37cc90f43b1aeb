"""A plugin brings published results; what is wrong with them is one line that names it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.cli.main import main
from bench.published.results import load_published
from bench.registry.registry import Registry

HEAD = "method,dataset,backbone,epochs,batch_size,evaluator,top1,protocol,source\n"
VALUE = """
    yield PublishedResult(
        published="Alignment", method="alignment", dataset="cifar10", backbone="ResNet18", epochs=10,
        batch_size=None, evaluator="linear", top1={top1}, source="our report",
    )
"""
Bring = Callable[..., Registry]


@pytest.fixture
def bring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bring]:
    """Install a distribution that brings results, and return a registry that has it."""

    def install(body: str, csv: str | bytes = "") -> Registry:
        package = tmp_path / "brings"
        package.mkdir()
        (package / "__init__.py").write_text(
            "from importlib.resources import files\nfrom pathlib import Path\n"
            "from bench.api import PublishedResult, hookimpl\n\n"
            f"@hookimpl\ndef bench_published():\n{body}\n"
        )
        (package / "more.csv").write_bytes(csv.encode() if isinstance(csv, str) else csv)
        about = tmp_path / "brings-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: brings\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text("[bench]\nresults = brings\n")
        monkeypatch.syspath_prepend(tmp_path)
        return Registry.load()

    yield install
    sys.modules.pop("brings", None)


def failures(registry: Registry) -> list[str]:
    return [f"{failure.plugin.id} {failure.phase}: {failure.error}" for failure in registry.failures]


FILE = "    yield files(__name__) / 'more.csv'"


def test_results_are_brought_as_values(bring: Bring) -> None:
    registry = bring(VALUE.format(top1=42.5))

    assert [one.top1 for one in registry.published() if one.method == "alignment"] == [42.5]
    assert registry.published()[: len(load_published())] == load_published()
    assert failures(registry) == []


def test_results_are_brought_as_a_file_of_the_package(bring: Bring) -> None:
    rows = "Barlow Twins,CIFAR-10,ResNet18,10,,linear,60.5,,a report\nMine,mine,,,,knn20,61,,a report\n"
    found = [one for one in bring(FILE, HEAD + rows).published() if one.source == "a report"]

    assert [(one.method, one.dataset, one.top1) for one in found] == [
        ("barlow_twins", "cifar10", 60.5),
        ("Mine", "mine", 61.0),
    ]


RANGE = "Write it in percent, above 0 and up to 100."
NEEDED = "Needed are method, dataset, evaluator, top1, source."
KNOWN = "1 is known of Alignment on cifar10 from the same source (our report). The first is used."
GARBLED = "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"
NOWHERE = "    yield Path('/nowhere/at-all.csv')"


@pytest.mark.parametrize(
    ("body", "csv", "line"),
    [
        (FILE, HEAD + "A,B,,,,linear,much,,s\n", "more.csv line 2: top1 is 'much'. Write a number."),
        (FILE, HEAD + "A,B,,,,linear,,,s\n", f"more.csv line 2: top1 is nan. {RANGE}"),
        (FILE, HEAD + "A,B,,,,linear,3\n", "more.csv line 2: source is ''. Say it in words."),
        (FILE, "method,top1\n", f"more.csv: it has no column 'dataset'. {NEEDED}"),
        (FILE, b"\xff\xfe", f"more.csv: {GARBLED}"),
        (NOWHERE, "", "at-all.csv: it cannot be read (No such file or directory)."),
        ("    yield 7", "", "7: is neither a PublishedResult nor a file. Yield one of these."),
        (VALUE.format(top1=-1), "", f"'Alignment': top1 is -1. {RANGE}"),
        (VALUE.format(top1=1) + VALUE.format(top1=2), "", f"'Alignment': top1 is 2, but {KNOWN}"),
        ("    raise KeyError('no')", "", "KeyError: 'no'"),
    ],
)
def test_what_is_wrong_is_one_line_that_names_the_plugin(
    bring: Bring, body: str, csv: str | bytes, line: str
) -> None:
    registry = bring(body, csv)

    assert registry.published()[: len(load_published())] == load_published()
    assert failures(registry) == [f"brings:results bench_published: {line}"]


def test_a_bad_row_leaves_the_others(bring: Bring) -> None:
    rows = "A,B,,,,linear,much,,s\nA,B,,,,linear,3,,s\n"

    assert bring(FILE, HEAD + rows).published()[-1].top1 == 3.0


def test_the_same_number_twice_is_no_conflict_and_counts_once(bring: Bring) -> None:
    registry = bring(VALUE.format(top1=1) * 2)

    assert len(registry.published()) == len(load_published()) + 1
    assert failures(registry) == []


def test_commands_tell_what_is_wrong_and_use_the_rest(bring: Bring) -> None:
    bring(VALUE.format(top1=1) + VALUE.format(top1=-2))
    found = CliRunner().invoke(main, ["reference", "--method", "alignment"])
    doctor = CliRunner().invoke(main, ["plugins", "doctor"])

    assert found.exit_code == 0
    assert "our report" in found.stdout
    assert found.stderr == f"brings:results: bench_published: 'Alignment': top1 is -2. {RANGE}\n"
    assert doctor.exit_code == 1
    assert "FAILED" in CliRunner().invoke(main, ["plugins", "list"]).stdout
    assert "brings:results 1.0 (brings) FAILED at bench_published: 'Alignment': top1 is -2." in doctor.stdout


def test_a_plugin_that_only_brings_results_observes_nothing(bring: Bring) -> None:
    registry = bring(VALUE.format(top1=1))

    assert [registry.observer_hooks(plugin) for plugin in registry.plugins if plugin.dist == "brings"] == [()]

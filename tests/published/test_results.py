"""Published results are data: what bench calls them stands in files, and a row that cannot be is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.published.names import name_in_bench
from bench.published.results import list_rows, load_published, parse_row
from bench.registry.registry import Registry

FOLDER = Path(__file__).resolve().parents[2] / "bench" / "published"
HEAD = "method,dataset,backbone,epochs,batch_size,evaluator,top1,protocol,source"


def parse(**changes: str) -> object:
    row = {
        "method": "SimCLR",
        "dataset": "CIFAR-10",
        "evaluator": "linear",
        "top1": "91.5",
        "source": "a paper",
    }
    return parse_row(row | changes)


def test_no_code_names_a_method_or_a_data_set() -> None:
    known = {entry.name for kind in ("methods", "datasets") for entry in Registry.load().entries(kind)}
    code = "\n".join(path.read_text(encoding="utf-8") for path in FOLDER.glob("*.py"))
    texts = set(re.findall(r'"([^"\n]*)"', re.sub(r'""".*?"""', "", code, flags=re.DOTALL)))

    assert known & texts == set()


@pytest.mark.parametrize(
    ("kind", "published", "name"),
    [
        ("method", "Barlow Twins", "barlow_twins"),
        ("method", "barlow_twins", "barlow_twins"),
        ("method", "MoCo v2", "mocov2"),
        ("method", "SimCLRv2", ""),
        ("method", "EMP-SSL", None),
        ("dataset", "CIFAR-100", "cifar100"),
        ("backbone", "ViT-S/16", "vit_small_patch16_224"),
    ],
)
def test_a_published_name_is_known_however_it_is_spelled(kind: str, published: str, name: str | None) -> None:
    assert name_in_bench(kind, published) == name


def test_every_remark_on_a_protocol_is_one_that_is_known() -> None:
    remarks = {part for result in load_published() for part in result.protocol.split("; ")}

    assert remarks == {"", "best epoch on test", "macro accuracy", "best of a sweep"}


def test_what_a_source_says_of_epochs_is_in_the_protocol() -> None:
    results = load_published()

    assert all(("max over" in one.source) == ("best epoch on test" in one.protocol) for one in results)
    assert all(("macro accuracy" in one.source) == ("macro accuracy" in one.protocol) for one in results)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"top1": "much"}, "top1 is 'much'. Write a number."),
        ({"top1": ""}, "top1 is nan. Write it in percent, above 0 and up to 100."),
        ({"top1": "nan"}, "top1 is nan. Write it in percent"),
        ({"top1": "100.5"}, "top1 is 100.5. Write it in percent"),
        ({"epochs": "1.5"}, "epochs is '1.5'. Write a number."),
        ({"batch_size": "0"}, "batch_size is 0. Write a whole number above 0, or nothing."),
        ({"source": " "}, "source is ' '. Say it in words."),
        ({"evaluator": ""}, "evaluator is ''. Say it in words."),
    ],
)
def test_a_row_that_cannot_be_is_refused_with_what_to_write(changes: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        parse(**changes)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (HEAD.replace(",top1", ""), "it has no column 'top1'"),
        (HEAD + ",seed", "it has a column 'seed'"),
        ("", "it has no column 'method'"),
    ],
)
def test_a_file_of_other_columns_is_refused(head: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        list(list_rows(head + "\n"))

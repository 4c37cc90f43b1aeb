"""`bench reference`: what others have published, found by bench's names and by theirs."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys

import pytest
from click.testing import CliRunner, Result

from bench.cli.main import main


def reference(*args: str) -> Result:
    return CliRunner().invoke(main, ["reference", *args])


def rows(*args: str) -> list[dict[str, str]]:
    result = reference(*args, "--format", "csv")
    assert result.exit_code == 0, result.stderr
    return list(csv.DictReader(io.StringIO(result.stdout)))


def test_a_text_has_the_numbers_with_protocol_and_source() -> None:
    head, _, *lines = reference("--dataset", "cifar10", "--method", "simclr").stdout.splitlines()

    assert head.split() == [
        "method", "as", "dataset", "backbone", "epochs", "batch", "evaluator", "top-1", "protocol", "source",
    ]  # fmt: skip
    assert len(lines) == 18
    assert any("online_linear" in line and "90.74" in line and "solo-learn@" in line for line in lines)
    assert any("knn200" in line and "best epoch on test" in line for line in lines)


def test_without_a_name_there_is_everything() -> None:
    assert len(rows()) == 405


def test_names_are_bench_s_or_as_they_are_published_and_several_are_any_of_them() -> None:
    ours, theirs = rows("--method", "barlow_twins"), rows("--method", "Barlow Twins")
    both = rows("--dataset", "cifar10,CIFAR-100", "--dataset", "cifar10")

    assert ours == theirs
    assert {row["method"] for row in ours} == {"barlow_twins"}
    assert {row["dataset"] for row in both} == {"cifar10", "cifar100"}


def test_a_part_of_a_backbone_or_an_evaluator_is_enough() -> None:
    assert {row["backbone"] for row in rows("--backbone", "vit_small_patch16_224")} >= {"ViT-S/16"}
    assert {row["evaluator"] for row in rows("--evaluator", "knn")} == {
        "knn",
        "knn20",
        "knn200",
        "online_knn20",
    }


def test_json_has_numbers_and_null_where_a_source_is_silent() -> None:
    found = json.loads(reference("--method", "simclr", "--dataset", "cifar10", "--format", "json").stdout)

    assert {type(row["top1"]) for row in found} == {float}
    assert None in {row["epochs"] for row in found}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--method", "simclrr"), "--method: nothing is published of 'simclrr'. Did you mean 'simclr'?"),
        (("--dataset", "cifar"), "--dataset: nothing is published of 'cifar'. Did you mean 'cifar10'"),
        (("--backbone", "xyz"), "--backbone: nothing is published of 'xyz'. Known: "),
        (
            ("--method", "mae", "--dataset", "cifar10"),
            "nothing is published of method mae and dataset cifar10 at once. Leave one of them out.",
        ),
    ],
)
def test_what_is_not_there_is_one_line_that_says_what_is(args: tuple[str, ...], message: str) -> None:
    result = reference(*args)

    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: {message}")
    assert len(result.stderr.splitlines()) == 1


def test_it_imports_neither_torch_nor_pandas() -> None:
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom bench.cli.main import main\n"
        "CliRunner().invoke(main, ['reference', '--method', 'simclr'])\n"
        "print({'torch', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"

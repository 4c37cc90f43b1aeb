"""What a shell offers to complete: commands, options, names of every kind, settings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner
from environment import environment
from made_records import make

from bench.cli.completion import SHELLS, VARIABLE
from bench.cli.main import main
from bench.storage.records import RecordStore

pytestmark = pytest.mark.usefixtures("folder")


def complete(line: str) -> list[str]:
    """Return what is offered for the last word of a line."""
    _, *words, incomplete = line.split(" ")
    return [
        item.value for item in ShellComplete(main, {}, "bench", VARIABLE).get_completions(words, incomplete)
    ]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("bench expo", ["export"]),
        ("bench run --metho", ["--method"]),
        ("bench run --method simc", ["simclr"]),
        ("bench run --method simclr,vicr", ["simclr,vicreg"]),
        ("bench run --backbone resnet18", ["resnet18", "resnet18d"]),
        ("bench run --dataset cifar", ["cifar10", "cifar100"]),
        ("bench run --eval-dataset kmn", ["kmnist"]),
        ("bench run --eval knn,lin", ["knn,linear", "knn,linear-sgd"]),
        ("bench run --executor in", ["in-process"]),
        ("bench run --set train.lr", ["train.lr=", "train.lr_scaling="]),
        ("bench run --set dataset.r", ["dataset.root="]),
        ("bench run --set train.precision=fl", ["train.precision=float32", "train.precision=float16"]),
        ("bench run --set backbone.pretrained=", ["backbone.pretrained=true", "backbone.pretrained=false"]),
        ("bench run --method vicreg --set method.cov", ["method.covariance="]),
        ("bench run --method vicreg,simclr --set simclr.t", ["simclr.temperature="]),
        ("bench run --eval knn --set knn.k", ["knn.k="]),
        ("bench run --method zzz --set method.", []),
        ("bench show vi", ["views"]),
        ("bench show method by", ["byol"]),
        ("bench show backbones resnet34", ["resnet34", "resnet34d"]),
        ("bench list data", ["dataset"]),
        ("bench table --rows method,eval", ["method,eval_dataset", "method,evaluator"]),
        ("bench table --format html", ["html", "html-fragment"]),
        ("bench export simclr DIR --to tor", ["torchvision", "torchscript"]),
        ("bench completion z", ["zsh"]),
    ],
)
def test_the_last_word_is_completed(line: str, offered: list[str]) -> None:
    assert complete(line) == offered


def test_metrics_are_those_of_the_records(folder: Path) -> None:
    assert complete("bench table --metric top") == []
    RecordStore(folder / "elsewhere").write(
        make("simclr", 60.0, dataset="cifar10", evaluator="linear", seed=0)
    )

    assert complete("bench table --results elsewhere --metric par,top") == ["par,top1"]


def test_a_line_that_is_not_right_yet_is_completed_all_the_same() -> None:
    assert complete("bench run --device cpu --device cuda --method simc") == ["simclr"]


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_has_a_script(shell: str) -> None:
    result = CliRunner().invoke(main, ["completion", shell])

    assert result.exit_code == 0
    assert f"{VARIABLE}={shell}_complete" in result.stdout


def test_bash_completes_by_the_script(tmp_path: Path) -> None:
    bench = tmp_path / "bench"
    bench.write_text(f"#!{sys.executable}\nfrom bench.cli import main\nmain()\n")
    bench.chmod(0o755)
    (tmp_path / "script").write_text(CliRunner().invoke(main, ["completion", "bash"]).stdout)
    code = (
        "compopt() { echo nospace; }; source ./script; COMP_WORDS=(bench run --set train.lr_) COMP_CWORD=3; "
        '_bench_completion bench; echo "${COMPREPLY[@]}"; complete -p bench'
    )
    env = environment(PATH=f"{tmp_path}:/usr/bin:/bin")
    done = subprocess.run(
        ["/bin/bash", "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, check=True
    )

    assert done.stdout.splitlines()[:2] == ["nospace", "train.lr_scaling="]
    assert "-F _bench_completion bench" in done.stdout


def test_completing_imports_no_torch() -> None:
    code = (
        "import sys\nfrom click.shell_completion import ShellComplete\nfrom bench.cli.main import main\n"
        "shell = ShellComplete(main, {}, 'bench', '_BENCH_COMPLETE')\n"
        "for option, start in ('--method', 's'), ('--backbone', 'r'), ('--set', 'm'):\n"
        "    assert shell.get_completions(['run', option], start)\n"
        "assert not {'torch', 'timm', 'pandas', 'sklearn'} & set(sys.modules)"
    )

    subprocess.run([sys.executable, "-c", code], check=True, env=environment())

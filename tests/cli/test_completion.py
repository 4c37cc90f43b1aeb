"""What a shell offers to complete: commands, options, names of every kind, settings."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner
from environment import environment
from made_records import make
from terminal import at_terminal

from bench.cli.completion import VARIABLE
from bench.cli.main import main
from bench.cli.shells import SHELLS
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
        ("bench run --dataset=cifar", ["cifar10", "cifar100"]),
        ("bench run --precision bf", ["bfloat16"]),
        ("bench run --set eval_dataset.n", ["eval_dataset.name="]),
        ("bench table --uncertainty bo", ["both"]),
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


def of_photos(method: str, seed: int = 0, title: str = "my photos") -> dict[str, Any]:
    record = make(method, 60.0, dataset="image_folder", evaluator="linear", seed=seed)
    record["cell"]["dataset_name"] = title
    record["keys"]["backbone"] = f"{method[:3].encode().hex()}{seed}{len(title)}0000"
    return record


@pytest.fixture
def records(folder: Path) -> Path:
    """Return a results folder with three backbones, two of them of one method."""
    for record in (of_photos("simclr"), of_photos("simclr", 1), of_photos("vicreg")):
        RecordStore(folder / "results").write(record)
    return folder


@pytest.mark.usefixtures("records")
@pytest.mark.parametrize(
    ("words", "incomplete", "offered"),
    [
        (["table", "--where"], "meth", ["method="]),
        (["table", "--where"], "method=", ["method=simclr", "method=vicreg"]),
        (["table", "--where"], "method=simclr|v", ["method=simclr|vicreg"]),
        (["table", "--where"], "method=simclr,seed=", ["method=simclr,seed=0", "method=simclr,seed=1"]),
        (["table", "--where"], "dataset=", ["dataset=my photos", "dataset=image_folder"]),
        (["table", "--where"], "zzz=", []),
        (["export"], "", ["simclr/resnet18/my photos,seed=0", "simclr/resnet18/my photos,seed=1", "vicreg"]),
        (["export"], "7369", ["73696d09", "73696d19"]),
        (["compare"], "", ["simclr", "vicreg"]),
        (["compare", "simclr"], "v", ["vicreg"]),
    ],
)
def test_what_records_have_is_offered(words: list[str], incomplete: str, offered: list[str]) -> None:
    found = ShellComplete(main, {}, "bench", VARIABLE).get_completions(words, incomplete)

    assert [item.value for item in found] == offered


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("bench run --set dataset.root=ph", "dir"),
        ("bench run --set backbone.weights=ph", "file"),
        ("bench run --results ph", "dir"),
        ("bench table --results ph", "dir"),
        ("bench report --root image_folder=ph", "dir"),
        ("bench export simclr ph", "dir"),
    ],
)
def test_the_shell_completes_paths(line: str, kind: str) -> None:
    _, *words, incomplete = line.split(" ")
    (item,) = ShellComplete(main, {}, "bench", VARIABLE).get_completions(words, incomplete)

    assert (item.type, item.value) == (kind, "ph")


# ---- in a real shell: Tab is pressed at a terminal, and Ctrl-G prints the line as it then is

START = {
    "bash": "bash --norc --noprofile -i",
    "zsh": "zsh -f -i",
    "fish": "fish --no-config -i",
}
SETUP = {  # what prints the line does not look like it, for the shell echoes both
    "bash": r"""PS1=; . ./script.bash; bind -x '"\C-g": printf "\x3c<%s>\x3e" "$READLINE_LINE"'""",
    "zsh": "PS1=; autoload -U compinit; compinit -D; . ./script.zsh; "
    """show() { print -rn -- "<""<$BUFFER>"">" }; zle -N show; bindkey "^G" show""",
    "fish": r"""source script.fish; bind \cg 'printf "\x3c<%s>\x3e" (commandline)'""",
}
READY = "; printf '%s%s' rea dy"
LINES = {
    "bench run --method simclr,vicr": "bench run --method simclr,vicreg ",
    "bench run --dataset=kmni": "bench run --dataset=kmnist ",
    "bench run --set train.lr_": "bench run --set train.lr_scaling=",
    "bench run --set train.precision=bf": "bench run --set train.precision=bfloat16 ",
    "bench run --set dataset.root=pho": "bench run --set dataset.root=photos/",
    "bench table --where method=simclr,evalu": "bench table --where method=simclr,evaluator=",
    "bench table --where dataset=my": r"bench table --where dataset=my\ photos ",
    "true; bench export vic": "true; bench export vicreg ",
}
CLEAR, SHOW = "\x15", "\x07"


@pytest.mark.parametrize("shell", [shell for shell in SHELLS if shutil.which(shell)])
def test_tab_completes_in_a_real_shell(records: Path, shell: str) -> None:
    program = records / "bin" / "bench"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nfrom bench.cli.main import main\nmain()\n")
    program.chmod(0o755)
    (records / "photos").mkdir()
    (records / f"script.{shell}").write_text(CliRunner().invoke(main, ["completion", shell]).stdout)
    env = environment(PATH=f"{program.parent}:{os.environ['PATH']}", TERM="xterm", HOME=str(records))
    with at_terminal(START[shell].split(), records, env) as terminal:
        terminal.ask(f"{SETUP[shell]}{READY}\r", "(ready)")
        terminal.ask(SHOW, "<<()>>")
        found = {line: terminal.ask(f"{CLEAR}{line}\t{SHOW}", r"<<(.*?)>>") for line in LINES}

    assert found == LINES


def test_completing_imports_no_torch() -> None:
    code = (
        "import sys\nfrom click.shell_completion import ShellComplete\nfrom bench.cli.main import main\n"
        "shell = ShellComplete(main, {}, 'bench', '_BENCH_COMPLETE')\n"
        "for option, start in ('--method', 's'), ('--backbone', 'r'), ('--set', 'm'):\n"
        "    assert shell.get_completions(['run', option], start)\n"
        "assert not {'torch', 'timm', 'pandas', 'sklearn'} & set(sys.modules)"
    )

    subprocess.run([sys.executable, "-c", code], check=True, env=environment())

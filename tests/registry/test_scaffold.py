"""What `bench plugins new` writes is installed, tested and run as its README says."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from documented import FENCED
from environment import environment
from foreign import forget_modules, install, make_environment, run_readme

from bench.cli.main import main
from bench.registry.scaffold import FAMILIES, STARTS

KINDS = {**{kind.removesuffix("s"): () for kind in STARTS}, **{like: ("--like", like) for like in FAMILIES}}
RUFF = ("--config", str(Path(__file__).parents[2] / "ruff.toml"))


def bench(*args: str) -> Result:
    return CliRunner().invoke(main, args)


def start(folder: Path, case: str) -> Path:
    """Start a distribution of a kind, or of the method that is like another one, and return its folder."""
    like = KINDS[case]
    kind = "method" if like else case
    done = bench("plugins", "new", f"my-{case}", "--kind", kind, *like, "--output", str(folder))
    assert done.exit_code == 0, done.output
    return folder / f"bench-my-{case}"


def commands_of(folder: Path) -> list[list[str]]:
    (block,) = FENCED.finditer((folder / "README.md").read_text())
    assert block[2] == "bash"
    return [shlex.split(line) for line in block[3].splitlines()]


def quicken(words: list[str]) -> list[str]:
    """Return a command with fewer epochs, images, things to compare with and processes."""
    if words[:2] != ["bench", "run"]:
        return words
    made = ["1" if before == "--epochs" else word for before, word in zip(["", *words], words, strict=False)]
    made = [word.removesuffix(",random").removesuffix(",knn") for word in made]
    made += [] if "--eval" in words else ["--eval", "knn"]
    made += [] if "--executor" in words else ["--executor", "in-process"]
    return [*made, "--batch-size", "32", "--set", "dataset.max_train=96"] if "digits" in words else made


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Start a distribution of every kind, and of every family of methods."""
    work = tmp_path_factory.mktemp("started")
    return {case: start(work, case) for case in KINDS}


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    yield monkeypatch
    forget_modules("bench_my_")


@pytest.mark.parametrize("case", [case for case in KINDS if case not in ("byol", "moco", "swav")])
def test_the_commands_of_its_readme_work(
    case: str, folders: dict[str, Path], installed: pytest.MonkeyPatch
) -> None:
    installed.chdir(folders[case])
    commands = commands_of(folders[case])

    assert commands[:2] == [["pip", "install", "-e", ".[test]"], ["pytest"]]
    install(folders[case], installed)
    for words in map(quicken, commands[2:]):
        if words[1:3] != ["plugins", "check"]:  # which its own test does, below
            done = bench(*words[1:])
            assert done.exit_code == 0, done.output
            assert "skipped" not in done.output
    printed = done.stdout
    if case == "observer":
        (file,) = Path("results/my-observer").glob("*.csv")
        assert len(file.read_text().splitlines()) == 1 + 1
    elif case == "logger":
        (file,) = Path("results/my-logger").glob("*.txt")
        assert [line.split()[0] for line in file.read_text().splitlines()] == ["epoch", "knn/top1"]
    elif case == "format":
        assert printed.startswith("#+CAPTION: top1")
    else:
        assert "my-" in printed or case == "executor"


def test_its_own_tests_pass(folders: dict[str, Path]) -> None:
    work = next(iter(folders.values())).parent
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider"]
    command += ["--import-mode=importlib", *(str(folder / "tests") for folder in folders.values())]
    own = environment(*folders.values())
    done = subprocess.run(command, capture_output=True, text=True, cwd=work, env=own, check=False)

    assert f"{len(KINDS)} passed" in done.stdout, done.stdout


def test_it_is_linted_and_formatted(folders: dict[str, Path]) -> None:
    work = next(iter(folders.values())).parent
    allowed = ("--ignore", "INP001", "--per-file-ignores", "test_*:S101")
    checked = subprocess.run(
        [sys.executable, "-m", "ruff", "check", *RUFF, *allowed, "--no-cache", str(work)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    formatted = subprocess.run(
        [sys.executable, "-m", "ruff", "format", *RUFF, "--check", "--no-cache", str(work)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert checked.returncode == 0, checked.stdout
    assert formatted.returncode == 0, formatted.stdout


@pytest.mark.long
@pytest.mark.parametrize("case", KINDS)
def test_its_readme_is_true_to_the_letter_in_an_environment_of_its_own(case: str, tmp_path: Path) -> None:
    folder, python = start(tmp_path, case), make_environment(tmp_path / "own")
    (block,) = FENCED.finditer((folder / "README.md").read_text())
    done = run_readme(block[3], folder, python)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "Successfully installed" in done.stdout
    assert "1 passed" in done.stdout
    assert "FAILED" not in done.stdout
    assert ": skipped" not in done.stderr  # a cell; checks that do not apply may be


# ---- what is refused


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("My Method",), "'My Method' cannot name a plugin."),
        (("class",), "'class' cannot name a plugin."),
        (("simclr",), "'simclr': ssl-bench 0.1.0 has a method of this name already. Choose another name."),
        (
            ("resnet18", "--kind", "backbone"),
            "'resnet18': ssl-bench 0.1.0 has a backbone of this name already.",
        ),
        (("train", "--kind", "evaluator"), "'train' is a part of `--set` already."),
        (("plugins",), "'plugins': ssl-bench has a package bench_plugins already."),
        (("mine", "--kind", "formt"), "--kind: no kind of plugin is named 'formt'. Did you mean 'format'?"),
        (("mine", "--like", "byoll"), "--like: no start is named 'byoll'. Did you mean 'byol'?"),
        (
            ("mine", "--kind", "dataset", "--like", "mae"),
            "--like: it is for --kind method, this is a dataset.",
        ),
    ],
)
def test_what_cannot_be_started_is_one_line(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    result = bench("plugins", "new", *words, "--output", str(tmp_path))

    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: {said}")
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    assert bench("plugins", "new", "mine", "--output", str(tmp_path)).exit_code == 0
    result = bench("plugins", "new", "mine", "--output", str(tmp_path))

    assert result.exit_code == 2
    assert "is there already" in result.stderr


@pytest.mark.parametrize("name", ["view", "method", "tensor", "recipe"])
def test_a_class_has_no_name_that_its_module_needs(name: str, tmp_path: Path) -> None:
    assert bench("plugins", "new", name, "--output", str(tmp_path)).exit_code == 0
    source = (tmp_path / f"bench-{name}" / f"bench_{name}" / f"{name}.py").read_text()

    assert re.search(rf"^class {name.capitalize()}Method\(Method\):", source, re.MULTILINE)

"""C is compiled once, into a folder of the user's own; where that cannot be, there is none and no error."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from environment import environment

from bench.system import c_library
from bench.system.c_library import COMPILERS, SWITCH, load_c

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or not any(map(shutil.which, COMPILERS)),
    reason="there is no C compiler, so nothing is compiled",
)
FLAGS = ("-O2",)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(SWITCH, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "ssl-bench"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "answer.c"
    file.write_text("int answer(void) { return 42; }\n")
    return file


def use_compiler(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a shell script stand for the compiler."""
    folder.mkdir()
    (folder / "cc").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "cc").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_a_function_of_a_source_can_be_called(source: Path, cache: Path) -> None:
    library = load_c(source, FLAGS)

    assert library is not None
    assert library.answer() == 42


def test_a_source_is_compiled_once(source: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_c(source, FLAGS)
    monkeypatch.setenv("PATH", "")
    again, otherwise = load_c(source, FLAGS), load_c(source, ("-O1",))

    assert again is not None
    assert otherwise is None


def test_a_changed_source_is_compiled_anew(source: Path, cache: Path) -> None:
    load_c(source, FLAGS)
    source.write_text("int answer(void) { return 43; }\n")
    library = load_c(source, FLAGS)

    assert library is not None
    assert library.answer() == 43


def test_the_folder_is_the_users_alone_and_holds_nothing_unfinished(source: Path, cache: Path) -> None:
    load_c(source, FLAGS)

    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    assert [path.suffix for path in cache.rglob("*")] == [".so"]


def test_without_a_compiler_there_is_no_library(
    source: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")

    assert load_c(source, FLAGS) is None


def test_a_source_that_the_compiler_refuses_leaves_nothing(
    source: Path, cache: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source.write_text("int answer(void) { return }\n")

    assert load_c(source, FLAGS) is None
    assert list(cache.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_a_compiler_that_makes_nothing_is_none(
    source: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_compiler(tmp_path / "bin", "exit 0", monkeypatch)

    assert load_c(source, FLAGS) is None


def test_a_compiler_that_hangs_is_not_waited_for(
    source: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_compiler(tmp_path / "bin", "exec sleep 600", monkeypatch)
    monkeypatch.setattr(c_library, "PATIENCE", 0.2)

    assert load_c(source, FLAGS) is None


def test_what_is_no_library_is_not_loaded(
    source: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_text = 'while [ "$1" != -o ]; do shift; done; echo text > "$2"'
    use_compiler(tmp_path / "bin", make_text, monkeypatch)

    assert load_c(source, FLAGS) is None
    assert len(list(cache.iterdir())) == 1  # it was made, and is no library


@pytest.mark.parametrize("mode", [0o777, 0o720])
def test_a_folder_that_others_may_write_in_is_not_used(mode: int, source: Path, cache: Path) -> None:
    cache.mkdir(parents=True)
    cache.chmod(mode)

    assert load_c(source, FLAGS) is None


def test_a_link_is_not_followed_to_a_folder(source: Path, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    cache.parent.mkdir()
    cache.symlink_to(tmp_path / "elsewhere")

    assert load_c(source, FLAGS) is None


def test_a_folder_of_another_user_is_not_used(
    source: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.mkdir(parents=True, mode=0o700)
    own = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: own + 1)

    assert load_c(source, FLAGS) is None


def test_where_no_folder_can_be_made_there_is_no_library(
    source: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))

    assert load_c(source, FLAGS) is None


@pytest.mark.parametrize("relative", ["", "here"])
def test_without_an_absolute_cache_it_is_in_the_home(
    relative: str, source: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", relative)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    load_c(source, FLAGS)

    assert len(list((tmp_path / "home" / ".cache" / "ssl-bench").iterdir())) == 1


def test_it_can_be_switched_off(source: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_c(source, FLAGS)
    monkeypatch.setenv(SWITCH, "0")

    assert load_c(source, FLAGS) is None


def test_processes_that_compile_at_once_all_get_it(source: Path, cache: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom bench.system.c_library import load_c\n"
        "print('ready', flush=True)\nsys.stdin.readline()\n"
        f"print(load_c(Path({str(source)!r}), {FLAGS!r}).answer())"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(),
        )
        for _ in range(4)
    ]  # fmt: skip
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    answers = [process.communicate()[0] for process in processes]

    assert answers == ["42\n"] * 4
    assert len(list(cache.iterdir())) == 1

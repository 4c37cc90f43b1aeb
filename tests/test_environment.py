"""Processes that tests start run what is tested."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from environment import environment

import bench

TESTS = Path(__file__).parent
OWN_PATH = {
    "environment.py", "test_environment.py", "test_packaging.py",  # the wheel is tested by itself
    "test_slurm.py", "slurm_cluster.py", "ray_cluster.py",  # jobs of a cluster get what `environment` says
}  # fmt: skip


def test_a_process_runs_the_bench_under_test_and_has_the_path_of_its_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other" / "bench").mkdir(parents=True)
    (tmp_path / "other" / "bench" / "__init__.py").write_text("raise ImportError('another bench')\n")
    (tmp_path / "other" / "inherited.py").write_text("")
    (tmp_path / "given.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "other"))
    code = "import bench, given, inherited, os; print(bench.__file__, os.environ['MORE'])"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(tmp_path, MORE="more"), cwd=tmp_path,
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.stdout == f"{bench.__file__} more\n", done.stderr
    assert os.environ["PYTHONPATH"] == str(tmp_path / "other")


def test_no_other_test_sets_the_path_of_a_process() -> None:
    assert {p.name for p in TESTS.rglob("*.py") if "PYTHONPATH" in p.read_text()} == OWN_PATH

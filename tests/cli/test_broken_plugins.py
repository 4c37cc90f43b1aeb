"""Plugins that something is wrong with: every command works, and says which they are."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bench.cli.main import main

SAME_NAME = """
from bench.api import Offer, hookimpl

@hookimpl
def bench_methods():
    yield Offer("random", "same_name:Nothing", "A method of others.")
"""
RUN = (
    "run", "--method", "random", "--backbone", "test_resnet", "--eval", "knn", "--image-size", "16",
    "--device", "cpu", "--precision", "float32", "--executor", "in-process", "--set", "dataset.max_train=48",
)  # fmt: skip


def bench(*args: str) -> Result:
    return CliRunner().invoke(main, args)


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install three distributions: one cannot be imported, one lacks something, one has a name of bench's."""
    monkeypatch.syspath_prepend(tmp_path)
    sources = {
        "leaves": ("import sys\nprint('bye')\nsys.exit(0)\n", ""),
        "lacks": ("", "Requires-Dist: torch>=99\n"),
        "same-name": (SAME_NAME, ""),
    }
    for dist, (source, more) in sources.items():
        module = dist.replace("-", "_")
        info = tmp_path / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: 1.0\n{more}")
        (info / "entry_points.txt").write_text(f"[bench]\npoint = {module}\n")
        (tmp_path / f"{module}.py").write_text(source)
    yield
    for dist in sources:
        sys.modules.pop(dist.replace("-", "_"), None)


def test_a_run_names_them_and_takes_the_method_of_bench(broken: None, tmp_path: Path) -> None:
    result = bench(*RUN, "--results", str(tmp_path / "results"))
    said = result.stderr.splitlines()

    assert result.exit_code == 0, result.output
    assert "Failed to load: leaves:point. See `bench plugins doctor`." in said
    assert "Without what it needs: lacks:point. See `bench plugins doctor`." in said
    assert "Note: random: the method of bench is meant. same-name 1.0 has one of this name, too: " in (
        result.stderr
    )
    assert any(line.endswith(", too: same-name:random.") for line in said)
    assert "bye" not in result.stdout


def test_they_are_named_by_list_and_the_others_are_listed(broken: None) -> None:
    result = bench("list", "methods")

    assert result.exit_code == 0
    assert "Failed to load: leaves:point." in result.stderr
    assert {"random", "simclr", "same-name:random"} <= {
        line.split()[0] for line in result.stdout.splitlines()
    }


def test_the_doctor_says_what_was_found_what_is_wrong_and_what_to_do(broken: None) -> None:
    sick, text = bench("plugins", "doctor"), bench("plugins", "doctor").stdout
    healthy = bench("-p", "no:leaves", "-p", "no:lacks", "plugins", "doctor")

    assert (sick.exit_code, healthy.exit_code) == (1, 0)
    assert ["leaves:point", "1.0", "leaves"] in [line.split() for line in text.splitlines()]
    assert "leaves:point 1.0 (leaves) FAILED at import: SystemExit: 0" in text
    assert "Reinstall or upgrade leaves, report this to its authors, or run without it:" in text
    assert "bench -p no:leaves:point ...   or   BENCH_DISABLE=leaves:point" in text
    assert "lacks:point 1.0 (lacks) FAILED at requirements: it needs torch>=99, and torch " in text
    assert "method random: bench has its own, which goes before it. This one is same-name:random;" in text
    assert text.splitlines()[-1].endswith("wrong with lacks:point, leaves:point.")
    assert healthy.stdout.splitlines()[-1].endswith("nothing is wrong with them.")
    assert ["leaves:point", "1.0", "leaves", "disabled"] in [
        line.split() for line in healthy.stdout.splitlines()
    ]

"""Runs of `bench` on a grid of one small cell, as a person would type them."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result
from PIL import Image

from bench.cli.main import main

SMALL = {
    "--backbone": "test_resnet",
    "--image-size": "16",
    "--epochs": "1",
    "--batch-size": "32",
    "--eval": "knn",
}


def bench(*args: str, **options: str) -> Result:
    return CliRunner().invoke(main, [*args, *(word for pair in options.items() for word in pair)])


def run(*args: str) -> Result:
    """Run a small grid, with `args` in place of its own options."""
    kept = {name: value for name, value in SMALL.items() if name not in args}
    return bench("run", *args, **kept)


def line_of(result: Result) -> str:
    """Return the one line of a usage error."""
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr.rstrip("\n")


def images(folder: Path, *paths: str) -> None:
    """Write images of one colour each."""
    for number, path in enumerate(paths):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (number * 20, 0, 0)).save(folder / path)

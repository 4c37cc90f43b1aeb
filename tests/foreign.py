"""Distributions of others: found without an installer, or installed into an environment of their own."""

from __future__ import annotations

import configparser
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from environment import UNDER_TEST, environment

OFFLINE = {"PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0"}  # which is: do not isolate


def install(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Put a folder with a `pyproject.toml` on the path, its entry points written down as pip would."""
    project = configparser.ConfigParser()
    project.read(folder / "pyproject.toml")
    name = project["project"]["name"].strip('"')
    version = project["project"]["version"].strip('"')
    about = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    about.mkdir(exist_ok=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    points = project["project.entry-points.bench"].items()
    lines = [f"{key} = {value.strip(chr(34))}" for key, value in points]
    (about / "entry_points.txt").write_text("\n".join(["[bench]", *lines]) + "\n")
    patch.syspath_prepend(str(folder))


def forget_modules(prefix: str) -> None:
    """Take modules that a test imported away again, so that another folder's can have their names."""
    for name in [name for name in sys.modules if name.startswith(prefix)]:
        del sys.modules[name]


def make_environment(folder: Path) -> Path:
    """Make an environment that has what this one has, and return its Python."""
    venv.create(folder, with_pip=False)
    (site,) = folder.glob("lib/python*/site-packages")
    paths = [path for path in sys.path if path.endswith("site-packages")]
    lines = [f"import site; site.addsitedir({path!r})" for path in paths]
    (site / "this-one.pth").write_text("\n".join([*lines, str(UNDER_TEST)]) + "\n")
    return folder / "bin" / "python"


def run_readme(commands: str, folder: Path, python: Path) -> subprocess.CompletedProcess[str]:
    """Run a block of a README in a shell, with the commands of an environment and without a network."""
    names = "\n".join(f'{name}() {{ "{python}" -m {name} "$@"; }}' for name in ("pip", "pytest", "bench"))
    command = ["/bin/bash", "-ec", f"{names}\n{commands}"]
    own = environment(**OFFLINE)
    return subprocess.run(command, cwd=folder, env=own, capture_output=True, text=True, check=False)

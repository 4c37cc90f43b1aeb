"""What `make torture` does with 50 kills, with two, and one flipped bit of each kind of file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from environment import environment

DRIVER = Path(__file__).with_name("torture.py")
QUICK = ("--kills", "2", "--grids", "0", "--flips", "0", "--disks", "0", "--eval", "knn", "--json")
KINDS = 10  # of files in a results folder


def test_nothing_is_lost_torn_or_made_twice_by_kills_and_every_flipped_bit_is_told(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(DRIVER), *QUICK, "--folder", str(tmp_path)],
        env=environment(OMP_NUM_THREADS="1"), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    kills, _, flips = json.loads(done.stdout)

    assert (kills["tried"], flips["tried"]) == (2, KINDS)
    for row in (kills, flips):
        assert {row[name] for name in ("lost", "torn", "twice", "differ", "badly")} == {0}, row

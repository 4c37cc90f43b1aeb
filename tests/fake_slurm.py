"""Commands of Slurm that keep a queue in a file: what a site would say is in it, and nothing is run.

A test writes `{"most": 4, "partitions": ["main"], "nodes": ["idle"], "jobs": []}`; nodes of 4 GB are their
states; a job is a list of its name, number in the array, state, start and reason, as `squeue` prints them.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

NAMES = ("sbatch", "squeue", "scontrol", "scancel", "sinfo", "srun")
NO_SUCH_NODE = "Requested node configuration is not available"


def install(folder: Path, **site: Any) -> Path:
    """Write the commands and the queue into a folder, and return the file of the queue."""
    queue = folder / "queue.json"
    usual = {"most": 4, "partitions": ["main"], "nodes": ["idle"], "jobs": [], "scripts": []}
    queue.write_text(json.dumps({**usual, **site}))
    for name in NAMES:
        command = folder / name
        command.write_text(f'#!/bin/sh\nexec {sys.executable} -SE {__file__} {name} {queue} "$@"\n')
        command.chmod(0o755)
    return queue


def submit(site: dict[str, Any], *args: str) -> str:
    script = sys.stdin.read() if args[0] == "--test-only" else Path(args[-1]).read_text()
    flags = dict(re.findall(r"#SBATCH --([a-z-]+)=(.*)", script))
    if flags.get("partition", "main") not in site["partitions"]:
        sys.exit(f"sbatch: error: invalid partition specified: {flags['partition']}\nallocation failure: no.")
    is_large = int(flags.get("mem", "0G").removesuffix("G")) > 4
    is_test = args[0] == "--test-only"
    if is_large or (is_test and "idle" not in site["nodes"]):  # a test looks only among nodes that are up
        sys.exit(f"sbatch: error: {NO_SUCH_NODE}")
    if is_test:
        return ""
    first, last = map(int, re.findall(r"\d+", flags["array"])[:2])
    if last >= site["most"]:
        sys.exit("sbatch: error: Batch job submission failed: Invalid job array specification")
    site["scripts"].append(script)
    waiting = ["PENDING", "N/A", "(Resources)"]
    site["jobs"] += [[flags["job-name"], str(n), *waiting] for n in range(first, last + 1)]
    return f"{len(site['scripts'])};cluster"


def cancel(site: dict[str, Any], *args: str) -> str:
    name = args[0].removeprefix("--name=")
    site["jobs"] = [job for job in site["jobs"] if job[0] != name]
    return ""


def main(command: str, path: str, *args: str) -> None:
    site = json.loads(Path(path).read_text())
    said = {
        "sbatch": lambda: submit(site, *args),
        "squeue": lambda: "\n".join("|".join(job) for job in site["jobs"]),
        "scontrol": lambda: f"Configuration data\nMaxArraySize            = {site['most']}\n",
        "scancel": lambda: cancel(site, *args),
        "sinfo": lambda: "\n".join(site["nodes"]),
    }[command]()
    Path(path).write_text(json.dumps(site))
    sys.stdout.write(f"{said}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])

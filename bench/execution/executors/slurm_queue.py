"""What is asked of Slurm's commands, and what they say."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Collection, Iterator, Sequence

from bench.contracts.executor import QueuedJob
from bench.errors import UsageError

PREFIX = "bench-"  # of the name of a job, before that of its submission
FORMAT = "%j|%K|%T|%S|%R"  # name, number in the array, state, start, reason or nodes
MOST_JOBS = 1001  # of an array, Slurm's default where the site does not say
NO_SUCH_NODE = "Requested node configuration is not available"
UP = {"allocated", "completing", "idle", "mixed", "planned"}  # states of nodes that jobs can be started on
PATIENCE_S = 120  # for a controller that is busy or starts anew; Slurm's commands try again themselves


def call(*command: str, text: str = "") -> str:
    """Return what a command of Slurm prints.

    Args:
        command: with its arguments.
        text: its standard input.

    Raises:
        UsageError: it is not there, or refuses; the message has its own words.
    """
    name = command[0]
    try:
        done = subprocess.run(  # noqa: S603 - our own arguments
            command, input=text, capture_output=True, text=True, check=False, timeout=PATIENCE_S
        )
    except FileNotFoundError:
        raise UsageError(
            f"slurm: there is no {name} on this machine. Run on one that Slurm's commands are on."
        ) from None
    except subprocess.TimeoutExpired:
        raise UsageError(f"slurm: {name} did not answer for {PATIENCE_S} s. Try again later.") from None
    if done.returncode:
        raise UsageError(f"slurm: {name} refused: {_choose_reason(done.stderr)}")
    return done.stdout


def test_script(script: str) -> None:
    """Have the site look at a script, without submitting it.

    Slurm looks only among the nodes that are up. Where others are down or drained, what no node has may
    be there later, and `submit_script` tells.

    Raises:
        UsageError: it refuses a setting, such as a partition that is not there.
    """
    try:
        call("sbatch", "--test-only", text=script)
    except UsageError as error:
        states = set(call("sinfo", "--noheader", "--Node", "--format=%T").split())
        if NO_SUCH_NODE not in str(error) or states <= UP:
            raise


def submit_script(path: str) -> str:
    """Submit a script, and return the number that the site gives its array.

    Raises:
        UsageError: the site refuses it.
    """
    return call("sbatch", "--parsable", path).strip().partition(";")[0]


def read_most_jobs() -> int:
    """Return how many jobs an array may have here.

    Raises:
        UsageError: the controller does not answer.
    """
    match = re.search(r"^MaxArraySize\s*=\s*(\d+)", call("scontrol", "show", "config"), re.MULTILINE)
    return int(match[1]) if match else MOST_JOBS


def list_jobs(submissions: Collection[str]) -> list[QueuedJob]:
    """Return the jobs of submissions that wait or run.

    Raises:
        UsageError: the controller does not answer.
    """
    user = str(os.getuid())
    said = call("squeue", "--noheader", "--array", f"--user={user}", f"--format={FORMAT}")
    return [job for job in parse_queue(said) if job.submission in submissions]


def parse_queue(text: str) -> Iterator[QueuedJob]:
    """Yield the jobs of ours in what `squeue` prints in `FORMAT`."""
    for line in filter(None, text.splitlines()):
        name, number, state, start, rest = line.split("|", 4)
        if name.startswith(PREFIX) and number.isdecimal():
            waits = state == "PENDING"
            yield QueuedJob(
                submission=name.removeprefix(PREFIX),
                number=int(number),
                is_running=not waits,
                said=f"waiting {rest}" if waits else f"{state.lower()} since {start} on {rest}",
            )


def cancel(submissions: Sequence[str]) -> None:
    """End the jobs of submissions, and take those that wait out of the queue.

    Raises:
        UsageError: the controller does not answer.
    """
    for submission in submissions:
        call("scancel", f"--name={PREFIX}{submission}", f"--user={os.getuid()}")


def _choose_reason(stderr: str) -> str:
    """Return the line of what a command says that tells most of what went wrong, without its own name."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip() and not line.startswith("Try ")]
    errors = [line for line in lines if "error: " in line]
    chosen = re.sub(r"^\w+: (?:error: )?", "", (errors[:1] or lines[-1:] or ["it did not say why"])[0])
    return chosen.rstrip(".") + "."

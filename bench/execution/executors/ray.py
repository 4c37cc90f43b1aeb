"""Tasks of a Ray cluster: each runs a command line and says how it ended; nothing of ours is pickled.

A task whose node is lost is run again on another one by Ray, and goes on from the last checkpoint.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import socket
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bench.config import setting
from bench.contracts.executor import WorkerSpec
from bench.errors import BadValue, UsageError, one_line
from bench.execution.executors.handed_out import HandedOut, OnOtherMachines, Place, chunk, yield_known
from bench.storage.records import Record
from bench.system.leaving import AskedToLeave

NAME = "ray"
LOOK_S = 2.0  # between looks at what tasks have made
PATIENCE_S = 20.0  # for a cluster that is to be joined
SAID = 2000  # letters of the end of what a command printed, of which an error tells

log = logging.getLogger("bench")


class Ray(OnOtherMachines):
    """Gives the cells of a few backbones each to the tasks of a cluster, and stays until all are made."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        address: str = setting("auto", "of the cluster; auto is the one that RAY_ADDRESS or this machine has")
        gpus: float | None = setting(
            None, "GPUs of a task; none is one for each of --devices where --device is cuda", least=0
        )
        cpus: int | None = setting(
            None, "processors of a task, shared out as threads; none is one a thread", least=1
        )
        backbones: int = setting(1, "backbones that a task makes one after the other", least=1)
        retries: int = setting(5, "runs again of a task whose node was lost; -1 is always", least=-1)

    def check(self, spec: WorkerSpec) -> None:
        """Refuse where there is no Ray, no cluster, or none that ever has what a task takes.

        Raises:
            UsageError: there is not.
        """
        super().check(spec)
        if spec.jobs > 1:
            raise BadValue("--jobs: Ray decides how many run. Use --set ray.cpus or ray.gpus.")
        if importlib.util.find_spec("ray") is None:
            raise UsageError("ray: Ray is not installed. Use pip install 'ssl-bench[ray]'.")
        self.refuse_small(spec, NAME)
        cpus, gpus = self.count_cpus(spec), self.count_gpus(spec)
        if gpus > 1 and not gpus.is_integer():
            raise BadValue(f"ray.gpus: {gpus:g} GPUs cannot be had. Use a whole number, or less than 1.")
        self._join()
        nodes = [node["Resources"] for node in import_ray().nodes() if node["Alive"]]
        asked = {"CPU": cpus, "GPU": gpus}
        if not any(all(node.get(name, 0) >= count for name, count in asked.items()) for node in nodes):
            raise UsageError(
                f"ray: no node of the cluster has {cpus} CPUs and {gpus:g} GPUs. "
                "Ask for less with --devices, ray.cpus and ray.gpus, or start such a node."
            )

    def run(self, spec: WorkerSpec, groups: Sequence[Sequence[Any]]) -> Iterator[Record]:
        """Yield the records that are there, then the others as tasks make them."""
        runner = spec.build()
        missing = yield from yield_known(runner, groups)
        out = HandedOut(runner, [cell for group in missing for cell in group])
        jobs = chunk(missing, self.config.backbones)
        if jobs:
            submission = spec.submit(NAME, [[cell for group in job for cell in group] for job in jobs])
            for number, job in enumerate(submission.jobs):
                out.expect((submission.name, number), [cell.key for cell in job])
            commands = {place: submission.command(spec.results, place[1]) for place in out.places}
            yield from self._collect(spec, out, commands)

    def _collect(
        self, spec: WorkerSpec, out: HandedOut, commands: dict[Place, list[str]]
    ) -> Iterator[Record]:
        """Start a task for each command, and yield what they make until all have ended."""
        ray = import_ray()
        task = ray.remote(run_command).options(
            num_cpus=self.count_cpus(spec), num_gpus=self.count_gpus(spec), max_retries=self.config.retries
        )
        tasks = {task.remote(command): place for place, command in commands.items()}
        try:
            while tasks:
                ended, _ = ray.wait(list(tasks), timeout=LOOK_S)
                yield from out.collect(list(tasks.values()))
                for one in ended:
                    yield from out.end(tasks.pop(one), describe_end(one))
        except (AskedToLeave, KeyboardInterrupt, GeneratorExit):
            for one in tasks:
                ray.cancel(one)  # raises KeyboardInterrupt there
            raise

    def _join(self) -> None:
        """Connect to the cluster.

        Raises:
            UsageError: it does not answer.
        """
        ray = import_ray()
        if ray.is_initialized():
            return
        try:
            reach(self.config.address)
            ray.init(address=self.config.address, log_to_driver=False, logging_level=logging.ERROR)
        except Exception as error:  # noqa: BLE001 - Ray raises a dozen kinds
            said = one_line(error)[:SAID]
            raise UsageError(
                f"ray: the cluster at {self.config.address} cannot be joined ({said}). Start one with "
                "`ray start --head`, or set ray.address."
            ) from None


def reach(address: str) -> None:
    """Connect to the host and port of an address, if it has one, and hang up: Ray itself tries for minutes.

    Raises:
        OSError: nobody answers there.
    """
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), PATIENCE_S).close()


def import_ray() -> Any:
    """Return the module of Ray, which takes seconds to import."""
    return importlib.import_module("ray")


def run_command(command: Sequence[str]) -> tuple[int, str]:
    """Run a command in a task until it ends; return its exit status and the end of what it printed.

    It ends with the task: its standard input does.
    """
    with subprocess.Popen(  # noqa: S603 - our own command
        [*command, "--until-eof"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        said = process.stdout.read() if process.stdout else ""
    return process.returncode, said[-SAID:]


def describe_end(task: Any) -> str:
    """Return why a cell failed whose task ended without a record of it."""
    ray = import_ray()
    try:
        status, said = ray.get(task)
    except ray.exceptions.RayError as error:
        return f"its task was lost ({one_line(error).partition('. ')[0][:SAID]}). Run again."
    lines = [line for line in said.splitlines() if line.strip()]
    last = lines[-1].strip() if lines else "it printed nothing"
    return f"its task ended before it was made (exit status {status}: {last}). Run again."

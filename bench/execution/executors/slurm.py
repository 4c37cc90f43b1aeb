"""Jobs of Slurm: arrays of command lines, whose truth is the store and whose queue is Slurm's.

A job makes the cells of a few backbones one after the other. Shortly before its time is over, or where it is
preempted, it is asked by a signal to leave: it writes a checkpoint, and its script puts it back into the
queue. submitit writes the script; nothing is pickled.
"""

from __future__ import annotations

import importlib.util
import logging
import shlex
import signal
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.config import setting
from bench.contracts.executor import QueuedJob, WorkerSpec
from bench.errors import BadValue, UsageError, one_line
from bench.execution.executors import slurm_queue
from bench.execution.executors.handed_out import HandedOut, OnOtherMachines, chunk, list_queued, yield_known
from bench.storage.artifacts import ArtifactStore
from bench.storage.records import Record
from bench.storage.submissions import Submission
from bench.system.leaving import SIGNALS

NAME = "slurm"
SCRIPT = "job.sh"
TASK = "$SLURM_ARRAY_TASK_ID"
ASK_FOR_GPUS = {"gres", "gpus", "gpus-per-node", "gpus-per-task"}  # options of sbatch

log = logging.getLogger("bench")


class Slurm(OnOtherMachines):
    """Submits what is neither made nor queued, and leaves; with `--wait` it stays until all is made."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        partition: str | None = setting(None, "partition; none is the site's default")
        account: str | None = setting(None, "account that is charged")
        gpus: int | None = setting(
            None, "GPUs of a job; none is one for each of --devices where --device is cuda", least=0
        )
        cpus: int | None = setting(
            None, "processors of a job, shared out as threads; none is one a thread", least=1
        )
        memory: str | None = setting(None, "memory of a job, as Slurm writes it: 16G")
        time: int = setting(60, "minutes after which a job is put back into the queue", least=1)
        options: tuple[str, ...] = setting((), "more options of sbatch: [qos=high,constraint=a100]")
        setup: tuple[str, ...] = setting((), "lines of the script before the command: [module load cuda]")
        backbones: int = setting(1, "backbones that a job makes one after the other", least=1)
        at_once: int = setting(0, "jobs that run at a time at most; 0 is as many as Slurm lets", least=0)
        leave: int = setting(90, "seconds before the end at which a job is asked to leave", least=1)
        requeues: int = setting(50, "times that a job is put back at most", least=0)
        poll: float = setting(10.0, "seconds between looks at the queue, with --wait", above=0)

    def leaves(self, spec: WorkerSpec) -> bool:
        """Tell whether cells are left in the queue."""
        return not spec.wait

    def check(self, spec: WorkerSpec) -> None:
        """Refuse what the site does, and a machine without Slurm's commands.

        Raises:
            UsageError: there is no submitit, no Slurm, or a setting that the site refuses.
        """
        super().check(spec)
        if spec.jobs > 1:
            raise BadValue("--jobs: Slurm decides how many run. Use --set slurm.at_once=N for a limit.")
        if importlib.util.find_spec("submitit") is None:
            raise UsageError("slurm: submitit is not installed. Use pip install 'ssl-bench[slurm]'.")
        self.refuse_small(spec, NAME)
        slurm_queue.test_script(self._write_script(spec, "test", "true", jobs=1))

    def run(self, spec: WorkerSpec, groups: Sequence[Sequence[Any]]) -> Iterator[Record]:
        """Yield the records that are there; submit the others; with `--wait`, yield them as they come."""
        runner = spec.build()
        missing = yield from yield_known(runner, groups)
        handed_out = HandedOut(runner, [cell for group in missing for cell in group])
        with ArtifactStore(spec.results).claims.hold("submissions"):
            self._submit_missing(spec, missing, handed_out)
        if spec.wait:
            yield from self._wait(spec, handed_out)

    def list_jobs(self, submissions: Collection[str]) -> Sequence[QueuedJob]:
        """Return the jobs that wait or run."""
        return slurm_queue.list_jobs(submissions)

    def cancel(self, submissions: Collection[str]) -> None:
        """End the jobs, and take those that wait out of the queue."""
        slurm_queue.cancel(sorted(submissions))

    def _submit_missing(self, spec: WorkerSpec, groups: Sequence[Sequence[Any]], out: HandedOut) -> None:
        """Submit the cells that are in no job of the queue."""
        queued = list_queued(spec.results, NAME, self)
        for place, keys in queued.items():
            out.expect(place, keys)
        own = [[cell for cell in group if not out.is_expected(cell)] for group in groups]
        jobs = chunk([group for group in own if group], self.config.backbones)
        if queued:
            log.warning("slurm: %d jobs are in the queue already", len(queued))
        if not jobs:
            return
        most, before = slurm_queue.read_most_jobs(), ""
        for array in chunk(jobs, most):
            cells = [[cell for group in job for cell in group] for job in array]
            submission = spec.submit(NAME, cells)
            before = self._submit(spec, submission, after=before if self.config.at_once else "")
            for number, job in enumerate(submission.jobs):
                out.expect((submission.name, number), [cell.key for cell in job])
            log.warning(
                "slurm: submitted %d cells as %d jobs of array %s (%s). See `bench status`, `bench cancel`.",
                sum(map(len, cells)), len(array), before, submission.name,
            )  # fmt: skip

    def _submit(self, spec: WorkerSpec, submission: Submission, after: str) -> str:
        """Submit the jobs of a submission as an array, and return its number.

        Args:
            spec: of the run.
            submission: that was written down.
            after: the array that has to end first, so that the limit of both is that of one.

        Raises:
            UsageError: the site refuses it; the submission is then forgotten.
        """
        command = shlex.join(submission.command(spec.results, "JOB"))[: -len("JOB")] + TASK
        script = self._write_script(spec, submission.name, command, jobs=len(submission.jobs), after=after)
        path = submission.log_folder(spec.results) / SCRIPT
        path.write_text(script, encoding="utf-8")
        try:
            return slurm_queue.submit_script(str(path))
        except UsageError:
            submission.forget(spec.results)
            raise

    def _write_script(self, spec: WorkerSpec, name: str, command: str, *, jobs: int, after: str = "") -> str:
        """Return the script of an array.

        Raises:
            BadValue: submitit knows no such setting.
        """
        import submitit

        try:
            executor = submitit.SlurmExecutor(spec.results.absolute() / "submissions" / name)
            executor.update_parameters(**self._list_parameters(spec, name, jobs, after))
        except (RuntimeError, ValueError, TypeError) as error:
            raise BadValue(f"slurm: {one_line(error)}.") from None
        executor.parameters["map_count"] = jobs
        text: str = executor._make_submission_file_text(command, name)  # noqa: SLF001 - the part without pickles
        return text

    def _list_parameters(self, spec: WorkerSpec, name: str, jobs: int, after: str) -> Mapping[str, Any]:
        """Return the parameters of submitit for an array; it takes only those that are not none."""
        config, cpus = self.config, self.count_cpus(spec)
        more = dict(option.removeprefix("--").partition("=")[::2] for option in config.options)
        gpus = 0 if ASK_FOR_GPUS & more.keys() else int(self.count_gpus(spec))
        return {
            "job_name": f"{slurm_queue.PREFIX}{name}",
            "partition": config.partition,
            "account": config.account,
            "gpus_per_node": gpus or None,
            "cpus_per_task": cpus,
            "mem": config.memory,
            "time": config.time,
            "signal_delay_s": config.leave,
            "dependency": f"afterany:{after}" if after else None,
            "array_parallelism": config.at_once or jobs,
            "setup": list(config.setup) or None,
            "teardown": write_requeue(config.requeues),
            "stderr_to_stdout": True,
            "srun_args": ["--cpus-per-task", str(cpus)],  # which srun no longer takes from sbatch
            "wckey": None,
            "additional_parameters": {
                "requeue": True, **{key: value or True for key, value in more.items()}
            },
        }  # fmt: skip

    def _wait(self, spec: WorkerSpec, out: HandedOut) -> Iterator[Record]:
        """Yield records as jobs make them, and what became of the cells of jobs that ended without."""
        told = ""
        while out.places:
            try:
                jobs = self.list_jobs({name for name, _ in out.places})
            except UsageError as error:  # a controller that is starting anew
                log.warning("%s", error)
                time.sleep(self.config.poll)
                continue
            running = {(job.submission, job.number) for job in jobs if job.is_running}
            waiting = {(job.submission, job.number) for job in jobs} - running
            yield from out.collect(running)
            for place in sorted(out.places.keys() - running - waiting):
                logs = spec.results.absolute() / "submissions" / place[0]
                yield from out.end(place, f"its job ended before it was made. See {logs}, and run again.")
            said = f"slurm: {len(running)} jobs run, {len(waiting)} wait"
            if out.places and said != told:
                log.warning(said)
                told = said
            if out.places:
                time.sleep(self.config.poll)


def write_requeue(most: int) -> list[str]:
    """Return the end of a script: a job that was asked to leave, and not cancelled, is put back.

    Args:
        most: how often at most.
    """
    left = "|".join(str(128 + getattr(signal, name)) for name in SIGNALS)
    return [
        "status=$?",
        "job=${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}",
        f"case $status in {left})",
        f'  if [ "${{SLURM_RESTART_COUNT:-0}}" -lt {most} ] &&',
        '     scontrol --oneliner show job "$job" | grep -q "JobState=RUNNING"; then',
        '    scontrol requeue "$job" && echo "Put back into the queue."',
        "  fi ;;",
        "esac",
        "exit $status\n",
    ]

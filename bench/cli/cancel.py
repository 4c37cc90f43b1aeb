"""The command `bench cancel`. What it needs is imported when it runs."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.app import Session, session
from bench.cli.options import results_option


@click.command()
@results_option
@session
def cancel(session: Session, /, results: Path) -> None:
    """End the jobs that were submitted for a results folder, and take those that wait out of the queue.

    What they have made stays, and so do checkpoints: the same `bench run` goes on from there.
    """
    from bench.execution.queues import cancel_jobs

    jobs = cancel_jobs(results, session.registry)
    running = sum(job.is_running for job in jobs)
    said = f"cancelled {len(jobs)} jobs, {running} of them running" if jobs else "nothing is in the queue"
    session.echo(f"{results}: {said}.")

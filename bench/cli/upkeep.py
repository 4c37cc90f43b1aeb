"""The commands that look after a results folder. What a command needs is imported when it runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.left_out import tells_left_out
from bench.cli.options import axis, results_option
from bench.cli.supervisor import FAILED
from bench.errors import BadValue, UsageError
from bench.plain_text import format_bytes
from bench.storage.record_shape import STATUSES

if TYPE_CHECKING:
    from bench.storage.leftovers import Leftovers

yes_option = click.option("--yes", is_flag=True, help="Do not ask.")
dry_run_option = click.option("--dry-run", is_flag=True, help="Say what would be done; change nothing.")


@click.command()
@results_option
def verify(results: Path) -> int:
    """Check every record and artifact by its digest, key and place.

    Nothing is changed. What is not as it was written is named, a line each; the exit status is 1 then.

    \b
    bench verify
    bench verify --results stranger/results
    """  # noqa: D301
    from bench.storage.verifying import verify as verify_folder

    found = verify_folder(results)
    for line in found.wrong:
        click.echo(f"wrong: {line}")
    for line in found.noted:
        click.echo(f"note: {line}")
    of = f"{found.records} records and {found.artifacts} artifacts"
    right = f"{results}: {of} are as they were written."
    click.echo(f"{results}: {len(found.wrong)} of {of} are wrong." if found.wrong else right)
    return FAILED if found.wrong else 0


@click.command()
@results_option
@dry_run_option
@yes_option
def gc(results: Path, dry_run: bool, yes: bool) -> int:  # noqa: FBT001
    """Make room: remove what no record needs.

    Records stay. What goes is: artifacts that no record needs, work folders of processes that have ended,
    with the checkpoints in them, artifacts that were set aside, and files of writers that were killed. While
    a process works in the folder, only the last two. What a running process is at stays in any case.

    \b
    bench gc --dry-run
    bench gc --yes
    """  # noqa: D301
    from bench.storage.artifacts import ArtifactStore
    from bench.storage.leftovers import find_leftovers, remove_leftover
    from bench.system.heartbeat import look_around

    def look() -> Leftovers:
        is_quiet = all(sighting.is_silent for sighting in look_around(results))
        return find_leftovers(results, is_quiet=is_quiet)

    leftovers = look()
    click.echo("\n".join(describe_leftovers(results, leftovers)))
    if dry_run or not leftovers.found or not confirm(f"Remove {len(leftovers.found)} of them?", yes=yes):
        return 0
    artifacts = ArtifactStore(results)
    still = {one.path for one in look().found}  # a run may have begun while the question stood
    left = [one for one in leftovers.found if one.path not in still or not remove_leftover(artifacts, one)]
    for one in left:
        click.echo(f"left: {one.path}: it is needed now, or it cannot be removed")
    freed = sum(one.size for one in leftovers.found) - sum(one.size for one in left)
    click.echo(f"{results}: removed {len(leftovers.found) - len(left)}, {format_bytes(freed)}")
    return FAILED if left else 0


def describe_leftovers(results: Path, leftovers: Leftovers) -> list[str]:
    """Return what can go, a line each with its size, and what stays."""
    lines = [f"{format_bytes(one.size):>9}  {one.path}: {one.why}" for one in leftovers.found]
    total = format_bytes(sum(one.size for one in leftovers.found))
    lines.append(
        f"{results}: {len(leftovers.found)} can go, {total}" if lines else f"{results}: nothing can go"
    )
    return [*lines, *(f"{results}: {line}." for line in leftovers.kept)]


@click.command()
@results_option
@axis("--where", metavar="AXIS=VALUE|…", text="Records with one of these values on this axis.")
@click.option("--status", type=click.Choice(STATUSES), help="Records of this status.")
@dry_run_option
@yes_option
@tells_left_out
def rm(results: Path, where: Sequence[str], status: str | None, dry_run: bool, yes: bool) -> int:  # noqa: FBT001
    """Remove records, by the axes of a table.

    Their cells are made again by the next run that has them. Backbones, features and predictions stay until
    `bench gc`.

    \b
    bench rm --where method=simclr,seed=3 --dry-run
    bench rm --status failed --yes
    """  # noqa: D301
    from bench.reporting.selection import parse_conditions, select_records
    from bench.reporting.status import count_cells
    from bench.storage.records import RecordStore

    if not where and not status:
        raise BadValue("rm: nothing was named. Use --where, e.g. method=simclr,seed=0, or --status.")
    store = RecordStore(results)
    records = list(store.records())
    if not records:
        raise UsageError(f"no records in {results}. Nothing is removed.")
    chosen = [
        record
        for record in select_records(records, parse_conditions(where))
        if status in (None, record["status"])
    ]
    if not chosen:
        raise UsageError(f"rm: no record has all that was asked for in {results}. Nothing is removed.")
    click.echo(count_cells(chosen))
    if dry_run or not confirm(f"Remove {len(chosen)} of {len(records)} records?", yes=yes):
        return 0
    left = [one for one in chosen if not store.remove(one["cell"], one["keys"]["score"])]
    for one in left:
        path = store.path(one["cell"], one["keys"]["score"])
        click.echo(f"left: {path}: it cannot be removed, see who may write to its folder", err=True)
    click.echo(f"{results}: removed {len(chosen) - len(left)} of {len(records)} records")
    return FAILED if left else 0


@click.command()
@results_option
@dry_run_option
def upgrade(results: Path, dry_run: bool) -> int:  # noqa: FBT001
    """Convert what earlier releases wrote.

    Records get digests, and artifacts say whose they are. Older records are read as they are; older
    artifacts are made again by a run unless they are upgraded before it. What cannot be converted is named
    and left, and the exit status is 1 then.
    """
    from bench.storage.upgrading import upgrade as upgrade_folder

    done = upgrade_folder(results, dry_run=dry_run)
    for line in done.left:
        click.echo(f"left: {line}")
    verb = "to convert" if dry_run else "converted"
    click.echo(
        f"{results}: {done.records} records and {done.artifacts} artifacts {verb}, {done.current} current"
    )
    return FAILED if done.left else 0


def confirm(question: str, *, yes: bool) -> bool:
    """Ask before something is removed.

    Raises:
        BadValue: there is nobody to ask.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        raise BadValue("nobody can be asked here, and nothing was removed. Use --yes, or --dry-run to look.")
    return click.confirm(question, err=True)

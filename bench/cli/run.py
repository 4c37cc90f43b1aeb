"""The command `bench run`. What a command needs is imported when it runs."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from bench.cli.app import Session, session
from bench.cli.completion import complete_folders, complete_names, complete_setting, complete_words
from bench.cli.options import axis
from bench.system.journal import limit_calls

FIRST_EPOCHS = 5  # of `bench run` alone: within a minute on two cores
HOW_TO_GO_ON = f"""That was a first look, {FIRST_EPOCHS} epochs long. How to go on:
  bench run --method simclr,vicreg,random --eval linear,knn --epochs 20
  bench run --dataset image_folder --set dataset.root=DIR --backbone resnet18 --dry-run
  bench list                          what there is; `bench show method simclr` says what can be set
  bench export simclr --to timm DIR   the backbone, for your own code
  bench report                        the results as a page to look at"""


@click.command()
@click.argument("grid", required=False, type=click.Path(path_type=Path))
@axis("--method", metavar="NAME,…", text="SSL methods and baselines.  [default: simclr]")
@axis("--backbone", metavar="NAME,…", text="Networks, by timm's names.  [default: test_resnet]")
@axis("--dataset", metavar="NAME,…", text="What to train on.  [default: digits]")
@axis("--eval", metavar="NAME,…", text="Evaluators.  [default: linear]")
@axis("--label-frac", metavar="F,…", text="Shares of the labels, in (0, 1].  [default: 1]")
@axis("--shots", metavar="N,…", text="Labelled images a class, instead of or beside shares of the labels.")
@click.option("--keep-one/--no-keep-one", default=None,
              help="A share that leaves a class without an image takes one of it.")  # fmt: skip
@axis("--eval-dataset", metavar="NAME,…", text="What to evaluate on, if not what was trained on.")
@axis("--seed", metavar="N,…", text="Of training and evaluation; a table averages over them.  [default: 0]")
@axis(
    "--epochs", metavar="N,…", text="Short for --set train.epochs=N.  [default: 100; 5 of `bench run` alone]"
)
@axis("--batch-size", metavar="N,…", text="Short for --set train.batch_size=N.  [default: 256]")
@axis("--image-size", metavar="N,…", text="Short for --set train.image_size=N.  [default: the data's]")
@axis(
    "--precision",
    metavar="NAME,…",
    text="Of training: auto, float32, tf32, bfloat16 or float16.",
    complete=complete_words("auto", "float32", "tf32", "bfloat16", "float16"),
)
@click.option("--set", "set_", multiple=True, metavar="PART.FIELD=VALUE,…", shell_complete=complete_setting,
              help="Any setting. PART is method, backbone, dataset, eval_dataset, train, views or a plugin's "
                   "name; `bench show` lists the fields. More values are an axis.")  # fmt: skip
@click.option("--data-dir", metavar="DIR", shell_complete=complete_folders,
              help="Where downloads are kept.  [default: data]")  # fmt: skip
@click.option("--results", metavar="DIR", shell_complete=complete_folders,
              help="Where records and artifacts go.  [default: results]")  # fmt: skip
@click.option("--device", metavar="NAME", shell_complete=complete_words("auto", "cpu", "cuda", "mps"),
              help="auto, cpu, cuda, cuda:N or mps.  [default: auto]")  # fmt: skip
@click.option("--jobs", metavar="N", help="Cells that are made at a time, a process each.  [default: 1]")
@click.option("--devices", metavar="N",
              help="GPUs, or on a CPU processes, that make each cell together; its numbers are those of one, "
                   "to rounding. torchrun may start them instead.  [default: 1]")  # fmt: skip
@click.option("--threads", metavar="N",
              help="Threads of each process. On a CPU another number rounds otherwise; with one number, "
                   "results are the same to the bit whatever --jobs is.  [default: the processor's, "
                   "shared out over --jobs]")  # fmt: skip
@click.option("--deterministic/--no-deterministic", default=None,
              help="On a GPU, use algorithms that repeat themselves to the bit wherever torch has them; they "
                   "are slower. A CPU repeats itself as it is.")  # fmt: skip
@click.option("--executor", metavar="NAME", shell_complete=complete_names,
              help="How cells are shared out: a name of `bench list executors`, with settings by --set "
                   "NAME.FIELD=VALUE.  [default: local where there are several --jobs, --threads, --gpus or "
                   "plugins that did not come with bench, else in-process]")  # fmt: skip
@click.option("--gpus", metavar="N,…", help="GPUs of this machine to use, a process each.  [default: all]")
@click.option("--gpus-per-cell", metavar="N", help="GPUs for each process, of --gpus.  [default: 1]")
@click.option("--wait/--no-wait", default=None,
              help="Wait for cells that jobs in a queue make, with progress and the table.")  # fmt: skip
@click.option("--claims", metavar="KIND", shell_complete=complete_words("auto", "lock", "lease"),
              help="How processes that share the results keep from making the same twice: lock, lease, or "
                   "auto by the file system.  [default: auto]")  # fmt: skip
@axis("--log", metavar="NAME,…",
      text="Show settings, curves, views and scores in trackers: tensorboard, wandb, mlflow, or one of a "
           "plugin's, with settings by --set NAME.FIELD=VALUE.")  # fmt: skip
@click.option("--download/--no-download", default=None, help="Download data that is missing.")
@click.option("--packed/--no-packed", default=None,
              help="Keep the decoded images of a folder in a file, for later runs, even where they fit into "
                   "memory.")  # fmt: skip
@click.option("--profile/--no-profile", default=None,
              help="Say where the time goes, and write traces: of ten steps of each training, and of the "
                   "first 2 s of each backbone's features and of each evaluator.")  # fmt: skip
@click.option("--timeout", metavar="TIME",
              help="End a cell that is not done after TIME, seconds or such as 1h30m, the training of its "
                   "backbone included; it fails, and the others are made.  [default: none]")  # fmt: skip
@click.option("--retries", metavar="N",
              help="How often later runs try a cell again that failed, before it is given up.  "
                   "[default: 1]")  # fmt: skip
@click.option("--retry-failed/--no-retry-failed", default=None,
              help="Try all cells again that failed, those that were given up as well.")  # fmt: skip
@click.option("--fail-fast/--no-fail-fast", default=None,
              help="Make nothing more once a cell has failed.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Say what would be made and how long it takes; make nothing.")
@session
def run(session: Session, /, grid: Path | None, dry_run: bool, **options: Any) -> int:  # noqa: FBT001
    """Pretrain, freeze, evaluate, and print the table.

    Every option with a list is an axis of the grid. GRID is a YAML file with the same names (method,
    label_frac, set, …); options go before what it says. What was made before is not made again. With no
    axis and no setting it is a first look, and short.

    \b
    bench run
    bench run --method simclr,vicreg,supervised,random --eval linear,knn --label-frac 0.01,0.1,1
    bench run --dataset image_folder --set dataset.root=photos --backbone resnet50 --seed 0,1,2
    bench run --set method.temperature=0.1,0.5 --epochs 200 --dry-run

    A batch that does not fit: --set train.chunk_size=N embeds it N images at a time. The gradient is the
    whole batch's, exactly, where there is no batch norm; batch norm has the statistics of each chunk.

    The exit status is 1 if a cell failed and 2 if something asked for cannot be done.
    """  # noqa: D301
    from bench.planning.options import merge_options

    options["set"] = options.pop("set_")
    merged = merge_options(grid, options)
    is_first_look = grid is None and not merged.axes and not merged.settings
    if is_first_look:
        merged = replace(merged, settings={"train.epochs": (FIRST_EPOCHS,)})
    limit_calls(merged.runtime.get("timeout") or 0.0)
    from bench.planning.checks import refuse_early

    session.say_failures()
    names = merged.request("float32").names
    for note in session.registry.describe_shadowed(names):
        click.echo(f"Note: {note}", err=True)
    refuse_early(merged, session.registry)  # before seconds are spent on importing torch
    from bench.cli.run_grid import run_grid
    from bench.cli.torchrun import read_joined
    from bench.execution.team import leading, wait_and_follow

    joined = read_joined(os.environ)
    if joined and joined.rank:
        return wait_and_follow(joined, merged.runtime.get("device"))
    ask = sys.stdin.isatty() and sys.stderr.isatty()
    with leading(joined):
        status = run_grid(merged, session, dry_run=dry_run, ask=ask, joined=joined)
    if is_first_look and not dry_run:
        click.echo(f"\n{HOW_TO_GO_ON}", err=True)
    return status

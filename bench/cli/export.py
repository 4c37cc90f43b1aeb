"""The command `bench export`. What a command needs is imported when it runs."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.app import Session, session
from bench.cli.completion import complete_backbones, complete_folders
from bench.cli.left_out import tells_left_out
from bench.cli.options import results_option

LIBRARIES = ("timm", "torchvision", "safetensors", "torchscript", "onnx")


@click.command()
@click.argument("what", metavar="KEY|ROW", shell_complete=complete_backbones)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path), shell_complete=complete_folders)
@click.option("--to", "library", type=click.Choice(LIBRARIES), default="safetensors", show_default=True,
              help="For which code.")  # fmt: skip
@results_option
@session
@tells_left_out
def export(session: Session, /, what: str, folder: Path, library: str, results: Path) -> None:
    """Write a trained backbone for other code, with what it is, a model card and how to load it.

    It is named by its key or the beginning of it, or by a row of the table. What is written is loaded again,
    strictly, and has to give the same features.

    \b
    bench export simclr --to timm simclr-backbone
    bench export simclr/resnet18,seed=0 --to onnx DIR
    bench export 0bc115c8 --to torchscript DIR --results results/cifar10
    """  # noqa: D301
    from bench.execution.stored_backbone import find_made

    made = find_made(what, results)
    from bench.execution.backbone_export import export_backbone
    from bench.execution.stored_backbone import build_stored

    export_backbone(build_stored(made, session.registry), library, folder)
    session.echo(folder)

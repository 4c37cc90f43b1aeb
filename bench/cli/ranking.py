"""The command `bench ranking`. What a command needs is imported when it runs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.app import Session, session
from bench.cli.completion import complete_metrics
from bench.cli.left_out import tells_left_out
from bench.cli.options import axis, results_option, split_names
from bench.errors import BadValue, UnknownName, UsageError, suggest
from bench.storage.data_names import name_data, plugin_of

if TYPE_CHECKING:
    from bench.storage.records import Record

FORMATS = ("text", "json", "csv")


@click.command()
@results_option
@axis("--method", metavar="NAME,…", text="What is compared.  [default: all but --between]")
@axis("--eval", metavar="NAME,…", text="Evaluators.  [default: all]")
@axis("--label-frac", metavar="F,…", text="Shares of the labels.  [default: all]")
@axis("--dataset", metavar="NAME,…", text="What was evaluated on.  [default: all]")
@click.option("--metric", metavar="NAME", shell_complete=complete_metrics,
              help="What is ranked.  [default: top1, or an evaluator's first]")  # fmt: skip
@click.option("--between", default="random,supervised", metavar="FLOOR,CEILING", show_default=True,
              help="The methods at which a normalised score is 0 and 1, or none.")  # fmt: skip
@click.option("--format", "format_", type=click.Choice(FORMATS), default="text", show_default=True)
@click.option("--figures", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
              help="Write a critical-difference diagram and performance profiles there, as SVG, PNG "
                   "and CSV.")  # fmt: skip
@session
@tells_left_out
def ranking(
    session: Session,
    /,
    results: Path,
    format_: str,
    figures: Path | None,
    between: str,
    metric: str | None,
    **filters: tuple[str, ...],
) -> None:
    """Rank methods over data sets: for each evaluator and label fraction, where there are two or more.

    Average ranks; Wilcoxon's test of each pair, with Holm; interquartile means of normalised scores and the
    probability of improvement, with intervals over seeds; and in words what so many data sets can tell apart.

    \b
    bench ranking
    bench ranking --eval linear --label-frac 1 --figures figures
    bench ranking --method simclr,vicreg,byol --between none --format json
    """  # noqa: D301
    from bench.reporting.blocks import gather_blocks
    from bench.reporting.ranking import rank_all
    from bench.reporting.ranking_output import WRITERS
    from bench.storage.records import RecordStore

    if figures is not None:
        from bench.report.export import check_export

        check_export()
    references, methods = read_references(between), split_names(filters["method"], "--method")
    records = list(RecordStore(results).records())
    if not records:
        raise UsageError(f"no records in {results}. Run `bench run` first.")
    refuse_unknown("method", methods, {record["cell"]["method"] for record in records})
    blocks = gather_blocks(
        select(records, filters), methods=methods, references=references or (), metric=metric, folder=results
    )
    rankings, refusals = rank_all(blocks, references)
    if not rankings:
        found = refusals[0] if refusals else "no metric is left of which more or less is better"
        raise UsageError(f"ranking: {found}. Run what is missing, or see `bench table`.")
    session.echo(WRITERS[format_](rankings, refusals))
    if figures is not None:
        from bench.report.export import write_figures
        from bench.report.rank_figures import draw_ranking

        for path in write_figures(tuple(draw_ranking(rankings)), figures):
            click.echo(f"Wrote {path}.", err=True)


def read_references(between: str) -> tuple[str, str] | None:
    """Return the two methods of `--between`; none where it is none.

    Raises:
        BadValue: it is neither two names nor none.
    """
    if between.strip() == "none":
        return None
    names = split_names((between,), "--between")
    if len(names) != 2:
        raise BadValue(f"--between: {between!r} is not two methods. Write FLOOR,CEILING, or none.")
    return names[0], names[1]


def select(records: Sequence[Record], filters: Mapping[str, tuple[str, ...]]) -> list[Record]:
    """Return the records that are asked for; evaluators that take no fraction stay, whichever is.

    Raises:
        BadValue: a share of the labels is no number.
        UnknownName: there is nothing of a name.
    """
    evaluators, datasets = (
        split_names(filters["eval"], "--eval"),
        split_names(filters["dataset"], "--dataset"),
    )
    shares = [read_share(text) for text in split_names(filters["label_frac"], "--label-frac")]
    cells = [record["cell"] for record in records]
    on = [
        {evaluated, plugin_of(record, "eval_dataset")}
        for record, (_, evaluated) in zip(records, name_data(records), strict=True)
    ]
    refuse_unknown("eval", evaluators, {cell["evaluator"] for cell in cells})
    refuse_unknown("dataset", datasets, set[str]().union(*on))
    refuse_unknown("label-frac", shares, {cell.get("label_frac") for cell in cells} - {None})
    return [
        record
        for record, cell, evaluated in zip(records, cells, on, strict=True)
        if (not evaluators or cell["evaluator"] in evaluators)
        and (not datasets or not evaluated.isdisjoint(datasets))
        and (not shares or cell.get("label_frac") in (None, *shares))
    ]


def read_share(text: str) -> float:
    """Return a share of the labels.

    Raises:
        BadValue: it is no number.
    """
    try:
        return float(text)
    except ValueError:
        raise BadValue(f"--label-frac: {text!r} is no number. Write 0.1 for a tenth of the labels.") from None


def refuse_unknown(option: str, names: Sequence[object], known: Collection[object]) -> None:
    """Refuse a name that no record has.

    Raises:
        UnknownName: there is one.
    """
    for name in names:
        if name not in known:
            raise UnknownName(f"--{option}: no record has {name}.{suggest(str(name), map(str, known))}")

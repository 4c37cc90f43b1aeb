"""What the observer and the format write."""

from __future__ import annotations

import json
from pathlib import Path

from bench_example.logbook import FILE, bench_cell_end, bench_run_end, bench_run_start
from bench_example.typst import Typst

from bench.api import Caption, Run, Table, TableCell, TableColumn, TableRow


def test_the_logbook_has_a_line_for_each_event(tmp_path: Path, run: Run) -> None:
    """Call it as a run does."""
    record = {"status": "ok", "cell": {"evaluator": "lda"}, "metrics": {"top1": {"value": 71.5}}}
    bench_run_start(run)
    bench_run_end(run, "ok")
    bench_cell_end(record, run)
    lines = [json.loads(line) for line in (tmp_path / FILE).read_text().splitlines()]

    assert [line["event"] for line in lines] == ["start", "end", "cell"]
    assert (lines[2]["evaluator"], lines[2]["top1"]) == ("lda", 71.5)


def test_a_figure_has_every_part_of_a_table() -> None:
    """Compare with the lines that it should write."""
    cell = TableCell(
        text="71.50 [1]",
        metric="top1",
        higher_is_better=True,
        mean=71.5,
        std=None,
        by_seed={0: 71.5},
        status="ok",
        troubles=(),
        axes={"method": "my_method"},
        protocol={},
        best=True,
        on_diagonal=False,
    )
    table = Table(
        caption=Caption("top1 in percent", "seed 0", (), (), "is best"),
        row_axes=("method",),
        row_headers=("method",),
        column_axes=("evaluator",),
        columns=(TableColumn("knn", {"evaluator": "knn"}), TableColumn("lda", {"evaluator": "lda"})),
        rows=(TableRow(("my_method",), {"method": "my_method"}, (cell, None)),),
        notes=("one seed",),
        axes=("method", "evaluator"),
    )

    assert Typst().render(table).splitlines() == [
        "#figure(",
        "  table(",
        "    columns: 3,",
        "    align: (left, right, right,),",
        "    table.header([method], [knn], [lda]),",
        r"    [my\_method], [*71.50 \[1\]*], [],",
        "  ),",
        "  caption: [top1 in percent, seed 0. Bold is best.],",
        ")",
        r"\[1\] one seed",
    ]

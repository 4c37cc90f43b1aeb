"""Turn records into tables, and say what a results folder holds.

A table passes through `metric_choice`, `axes` (what tells records apart), `pivot` (what goes down and
across), `protocols` (what may share a column), `best` (by `evidence` and `comparisons`), then `headings`,
`uncertainty` and `captions`; `table` calls them in this order, and a format of `formats` renders the `Table`.
`status` stands beside.

Imports storage, statistics and what is below it.
"""

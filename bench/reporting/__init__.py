"""Turn records into tables, and say what a results folder holds.

A table passes through `metric_choice`, `axes` (what tells records apart), `pivot` (what goes down and
across), `protocols` (what may share a column), `best` (by `comparisons` and `significance`), then `headings`
and `captions`; `table` calls them in this order, and a format of `formats` renders the `Table`. `status`
stands beside.

Imports storage and what is below it.
"""

"""Turn records into tables, and say what a results folder holds.

Records are read by `folders` and chosen by `selection`. A table passes through `metric_choice`, `axes` (what
tells records apart), `pivot` (what goes down and across), `protocols` (what may share a column), `best` (by
`evidence` and `comparisons`), then `captions` (in the words of `wording`), `ordering`, `headings` (by the
names of `naming`), `uncertainty` and `references`; `table` calls them in this order, and a format of
`formats` renders the `Table`. `export` does all of this for a command, and `sidecar` says beside a file what
it was made of. Two rows are found by `named_rows` and compared by `compared_rows`.
`status` stands beside.

Imports storage, statistics and what is below it.
"""

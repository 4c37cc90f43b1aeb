"""Write a results folder as one page to look at: its table, its curves, what it cost and how it was made.

`page` puts together what `grid_table`, `curves`, `labels`, `costs` and `provenance` make of `results`:
sections of text and of figures. A `Figure` is drawn once, by `svg`, and has its numbers as a table.

Imports reporting, storage and what is below them; torch nowhere.
"""

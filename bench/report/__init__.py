"""Write a results folder as one page to look at: its table, its figures, what it cost and how it was made.

`page` puts together what `grid_table`, `curves`, `labels`, `costs` and `provenance` make of `results`:
sections of text and of figures. A `Figure` is drawn once and has its numbers as a table. Those of stored
predictions, features and images are made of values (arrays, names) by a module each; `stored` finds them.

Imports reporting, storage and what is below them; torch where images and features are read alone.
"""

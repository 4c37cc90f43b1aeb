"""How far a number can be trusted: intervals, tests of a difference, and of many differences.

Numbers in, numbers out: nothing here knows a record or a table. What each is, and where it is from:
`docs/statistics.md`.

Imports nothing of bench.
"""

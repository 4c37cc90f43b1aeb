"""Say what scores support: intervals, tests, ranks and aggregates.

Numbers in, numbers out: nothing here knows a record or a table. Imports nothing of bench.
"""

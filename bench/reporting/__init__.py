"""From records to tables.

Imports storage and what is below it.
"""

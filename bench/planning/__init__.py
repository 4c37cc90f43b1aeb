"""From a request to cells: every combination resolved, keyed and checked before any training.

Imports registry, contracts and what is below them.
"""

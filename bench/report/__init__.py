"""A report that people look at: figures with their numbers, and a page of them.

Imports reporting, statistics, metrics, storage and augmentation, and what is below them.
"""

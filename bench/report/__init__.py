"""Figures of the report: drawn from stored predictions, features and images, each with its numbers.

A figure is made of values (arrays, names) by a module of its own; `stored` finds those of records.
"""

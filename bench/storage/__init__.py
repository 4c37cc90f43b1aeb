"""Keep records and artifacts on disk, and find them by key.

Imports errors and keys.
"""

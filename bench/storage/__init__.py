"""Records and artifacts on disk, found by key.

Imports config, errors and keys.
"""

"""A finished table as text: for a terminal, for GitHub, for a paper, for a page, for a script.

Imports nothing of the harness.
"""

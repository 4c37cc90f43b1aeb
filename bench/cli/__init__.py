"""The command line: parse, call, print.

Imports anything; nothing imports it.
"""

from bench.cli.main import main

__all__ = ["main"]

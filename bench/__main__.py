"""Run the command line as `python -m bench`."""

from __future__ import annotations

from bench.cli.main import main

main(prog_name="bench")

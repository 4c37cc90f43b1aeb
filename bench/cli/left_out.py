"""Have the exit status of a command say that records were left out of its result."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable, Iterator
from typing import Any

import click

from bench.cli.supervisor import FAILED

READER = "bench.storage.records"  # the log of what is left out


class _Counter(logging.Filter):
    """Count the warnings that say what is left out; none is held back."""

    count = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Let a warning pass."""
        self.count += getattr(record, "left_out", 0)
        return True


@contextlib.contextmanager
def counted() -> Iterator[_Counter]:
    """Count what is left out within a block."""
    counter, log = _Counter(), logging.getLogger(READER)
    log.addFilter(counter)
    try:
        yield counter
    finally:
        log.removeFilter(counter)


def tells_left_out(command: Callable[..., Any]) -> Callable[..., Any]:
    """Have a command that reads records say so, and exit with 1, where some were left out of its result."""

    @functools.wraps(command)
    def call(*args: Any, **options: Any) -> Any:
        with counted() as left_out:
            status = command(*args, **options)
        if left_out.count:
            click.echo("What is shown lacks the records named above; the exit status is 1.", err=True)
        return status or (FAILED if left_out.count else 0)

    return call

"""A logger as an observer: made at its first call, and what goes wrong with it is said once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bench.boundary import is_from_user, plugin_call
from bench.config import build
from bench.contracts.logger import Logger
from bench.errors import BenchError, one_line
from bench.registry.registry import Registry

CLOSE = "close"  # the hook of loggers alone: at the end of a run
CALLED: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "bench_run_start": ("start", ("run",)),
    "bench_views": ("show_views", ("run", "picture")),
    "bench_step_end": ("log_step", ("run", "step", "metrics")),
    "bench_epoch_end": ("log_epoch", ("run", "epoch", "metrics")),
    "bench_run_end": ("end", ("run", "status")),
    "bench_cell_end": ("log_record", ("run", "record")),
    CLOSE: ("close", ()),
}  # by the hook of an observer, the method of a logger and what it takes

log = logging.getLogger("bench")


class LoggerFailed(BenchError):
    """A logger raised."""


class CalledLogger:
    """Calls a logger.

    Args:
        name: it was asked for by.
        cls: of the logger.
        config: an instance of its `Config`.
        results: the folder of results.
    """

    def __init__(self, name: str, cls: type[Logger], config: Any, results: Path) -> None:
        self.name, self.patience = name, cls.patience
        self._make: Callable[[], Logger] = lambda: cls(config, results)
        self._step_interval = cls.step_interval
        self._logger: Logger | None = None
        self._is_broken = self._has_failed = False

    @property
    def hooks(self) -> dict[str, Callable[..., Any]]:
        """What observers are called by: each calls a method of the logger."""
        return {
            "bench_step_interval": lambda: [self._step_interval],
            **{hook: partial(self._call, *called) for hook, called in CALLED.items()},
        }

    def _call(self, method: str, names: Sequence[str], **values: Any) -> None:
        """Call a method of the logger, which is made first if there is none yet.

        Args:
            method: its name.
            names: of those values that it takes, in its order.
            values: of the hook, by name.

        Raises:
            LoggerFailed: it raised, for the first time: one that cannot be made is not tried again.
        """
        if self._is_broken:
            return
        try:
            if self._logger is None:
                self._is_broken = True
                self._logger = self._make()
                self._is_broken = False
            getattr(self._logger, method)(*(values[name] for name in names))
        except BaseException as error:
            is_first, self._has_failed = not self._has_failed, True
            if is_from_user(error):
                raise
            if is_first:
                lost = "Nothing is logged by it." if self._is_broken else "What it missed is not logged."
                raise LoggerFailed(f"{one_line(error)}. {lost} The run goes on.") from error
            log.debug("%s", self.name, exc_info=error)


def open_loggers(
    registry: Registry, settings: Mapping[str, Mapping[str, Any]], results: Path
) -> list[CalledLogger]:
    """Return loggers that were asked for.

    Args:
        registry: of plugins.
        settings: of each, by its name.
        results: the folder of results.

    Raises:
        UsageError: one is not there, cannot be set so, or cannot work.
    """
    opened = []
    for name, own in settings.items():
        cls: type[Logger] = registry.load_class("loggers", name)
        config = build(cls.Config, own, name)
        with plugin_call(f"{name}: check()"):
            cls.check(config)
        opened.append(CalledLogger(name, cls, config, results))
    return opened

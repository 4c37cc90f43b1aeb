"""A logger as an observer: made at its first call, and what goes wrong with it is said once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench.boundary import is_from_user, plugin_call
from bench.config import build
from bench.contracts.logger import Logger
from bench.errors import BenchError, one_line
from bench.hookspecs import Run
from bench.registry.registry import Registry
from bench.storage.records import Record

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
            "bench_run_start": self._start,
            "bench_views": self._show_views,
            "bench_step_interval": lambda: [self._step_interval],
            "bench_step_end": self._log_step,
            "bench_epoch_end": self._log_epoch,
            "bench_run_end": self._end,
            "bench_cell_end": self._log_record,
            "close": lambda: self._call("close"),
        }

    def _start(self, run: Run) -> None:
        self._call("start", run)

    def _show_views(self, run: Run, picture: bytes) -> None:
        self._call("show_views", run, picture)

    def _log_step(self, run: Run, step: int, metrics: Mapping[str, float]) -> None:
        self._call("log_step", run, step, metrics)

    def _log_epoch(self, run: Run, epoch: int, metrics: Mapping[str, Any], **_: Any) -> None:
        self._call("log_epoch", run, epoch, metrics)

    def _end(self, run: Run, status: str) -> None:
        self._call("end", run, status)

    def _log_record(self, record: Record, run: Run) -> None:
        self._call("log_record", run, record)

    def _call(self, method: str, *values: Any) -> None:
        """Call a method of the logger, which is made first if there is none yet.

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
            getattr(self._logger, method)(*values)
        except BaseException as error:
            if is_from_user(error) or not self._has_failed:
                self._has_failed = True
                if is_from_user(error):
                    raise
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

"""Tell plugins what happens in a run, so that none of them can slow or break it.

Each plugin that observes has a queue and a thread of its own. The run puts copies into the queues and goes
on; what a plugin raises is logged; events that a plugin is too slow for are dropped, steps first.
"""

from __future__ import annotations

import copy
import logging
import queue
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from bench.boundary import is_from_user
from bench.errors import one_line
from bench.execution.called_logger import CLOSE, CalledLogger
from bench.registry.registry import Registry
from bench.system.journal import OBSERVER, survived
from bench.system.process_state import kept_folder
from bench.system.stage_watch import Tell, tell_nobody

STEPS_WAITING = 1_000  # events in a queue from which on steps are dropped
WAITING = 10_000  # events in a queue from which on all are: what is left of memory belongs to the run
DRAIN_S = 10.0  # at the end of a run, for what observers have not seen yet

STEP_END, STEP_INTERVAL = "bench_step_end", "bench_step_interval"
VIEWS = "bench_views"

Hook = Callable[..., Any]
Event = tuple[str, dict[str, Any]]  # a hook's name and its arguments

log = logging.getLogger("bench")


class Observers:
    """The plugins that observe a run. Threads start with the first event.

    Args:
        registry: of plugins.
        muted: plugins and loggers that are not called, by their names.
        tell: is told when one is called, and when it has returned.
        loggers: those that the run asked for.
    """

    def __init__(
        self,
        registry: Registry,
        muted: Collection[str] = (),
        tell: Tell = tell_nobody,
        loggers: Iterable[CalledLogger] = (),
    ) -> None:
        found = [_Observer(plugin.id, hooks, tell) for plugin, hooks in registry.observers()]
        found += [_Observer(logger.name, logger.hooks, tell, logger.patience) for logger in loggers]
        self._all = [observer for observer in found if observer.name not in muted]

    @property
    def active(self) -> bool:
        """Any plugin observes."""
        return bool(self._all)

    def has(self, hook: str) -> bool:
        """Tell whether any plugin has a hook."""
        return any(hook in observer.hooks for observer in self._all)

    @property
    def waiting(self) -> int:
        """Events that no plugin has taken yet."""
        return sum(observer.waiting for observer in self._all)

    def notify(self, hook: str, **values: Any) -> None:
        """Tell every plugin that has a hook; it is called later, with a copy of the values."""
        for observer in self._all:
            if hook in observer.hooks:
                observer.put(hook, values)

    def notify_step(self, step: int, metrics: Mapping[str, float], **values: Any) -> None:
        """Tell the plugins that asked for this step of the end of it."""
        for observer in self._all:
            if observer.interval and step % observer.interval == 0:
                observer.put(STEP_END, {"step": step, "metrics": dict(metrics), **values})

    def drain(self, patience: float | None = None) -> None:
        """Wait until the plugins have seen all that happened, but no longer than they are given.

        Args:
            patience: for all of them, in seconds; none is each one's own.
        """
        start = time.monotonic()
        working = [observer for observer in self._all if observer.started and not observer.abandoned]
        for observer in working:
            if CLOSE in observer.hooks:
                observer.put(CLOSE, {})
        for observer, seen in [(observer, observer.mark()) for observer in working]:
            given = observer.patience if patience is None else patience
            if not seen.wait(max(0.0, start + given - time.monotonic())):
                observer.abandon(given)
            observer.report_dropped()


@dataclass
class _Observer:
    """One plugin or logger, its queue and its thread.

    Args:
        name: that no other has.
        hooks: by name.
        tell: is told of each call.
        patience: seconds that the end of a run waits for it.
    """

    name: str
    hooks: Mapping[str, Hook]
    tell: Tell
    patience: float = DRAIN_S
    started: bool = False
    abandoned: bool = False
    dropped_steps: int = 0
    dropped: int = 0
    _events: queue.SimpleQueue[Event | threading.Event] = field(default_factory=queue.SimpleQueue)
    _logged: set[str] = field(default_factory=set)

    @cached_property
    def interval(self) -> int:
        """Every how many steps the plugin is told of one, 0 where it wants none; it is asked at the first."""
        return self._ask_interval() if STEP_END in self.hooks and STEP_INTERVAL in self.hooks else 0

    @property
    def waiting(self) -> int:
        """Events that the plugin has not taken yet."""
        return self._events.qsize()

    def put(self, hook: str, values: Mapping[str, Any]) -> None:
        """Have a hook called on the thread of the plugin, unless too much is waiting already."""
        if hook == STEP_END and self.waiting >= STEPS_WAITING:
            self.dropped_steps += 1
        elif self.abandoned or self.waiting >= WAITING:
            self.dropped += 1
        else:
            self._start()
            self._events.put((hook, copy.deepcopy(dict(values))))

    def mark(self) -> threading.Event:
        """Return what is set when the plugin has seen all that was put until now."""
        seen = threading.Event()
        self._events.put(seen)
        return seen

    def abandon(self, patience: float) -> None:
        """Tell the plugin of nothing more: it is stuck, or far too slow."""
        self.abandoned = True
        log.warning(
            "%s: its observers were not done %g s after the run; about %d events are lost to them.",
            self.name, patience, self.waiting,
        )  # fmt: skip

    def report_dropped(self) -> None:
        """Log how many events the plugin was too slow for, since the last time."""
        counts = {"steps": self.dropped_steps, "other events": self.dropped}
        lost = " and ".join(f"{count} {name}" for name, count in counts.items() if count)
        if lost:
            log.warning("%s: its observers were too slow for the run: %s were dropped.", self.name, lost)
        self.dropped_steps = self.dropped = 0

    def _start(self) -> None:
        if not self.started:
            self.started = True
            threading.Thread(target=self._work, name=f"observer {self.name}", daemon=True).start()

    def _work(self) -> None:
        while True:
            event = self._events.get()
            if isinstance(event, threading.Event):
                event.set()
            else:
                self._call(*event)

    def _call(self, hook: str, values: Mapping[str, Any]) -> Any:
        self.tell("observing", self.name)
        try:
            with survived(f"{self.name}: an observer", OBSERVER), kept_folder():
                return self.hooks[hook](**values)
        except BaseException as error:
            if is_from_user(error):
                raise
            if hook not in self._logged:  # once: it would raise at every epoch
                self._logged.add(hook)
                log.warning("%s: %s raised %s", self.name, hook, one_line(error))
            log.debug("%s", self.name, exc_info=error)
            return None
        finally:
            self.tell("observed", self.name)

    def _ask_interval(self) -> int:
        answers = self._call(STEP_INTERVAL, {})
        interval = answers[0] if answers else None
        if isinstance(interval, int) and interval >= 1:
            return interval
        if answers is not None:
            log.warning(
                "%s: %s returned %r. Return a whole number from 1.", self.name, STEP_INTERVAL, interval
            )
        return 0

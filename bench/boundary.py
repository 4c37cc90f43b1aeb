"""The boundary round every call into a plugin: whatever it raises is an error that names it, and no more.

A plugin may raise anything, `SystemExit` and `KeyboardInterrupt` too, but only the user may end a run. So the
interrupt of the user is a class of its own, which the handler of the signal raises. What ends a whole process
(`os._exit`, a segmentation fault) is contained by `bench.execution.executors.local` while cells are made,
elsewhere by a process that waits for this one, `bench.cli.supervisor`, and reads in its journal where it was.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from types import FrameType
from typing import Any

from bench.errors import BadPlugin, BenchError, Unsupported, one_line
from bench.system.journal import CALL, RUN, survived
from bench.system.leaving import AskedToLeave
from bench.system.process_state import kept_state

ECHO_S = 0.5  # one Ctrl-C may come twice: from the terminal, and from the process that waits for this one


class UserInterrupt(KeyboardInterrupt):
    """The user pressed Ctrl-C."""


@contextlib.contextmanager
def tell_interrupts_apart() -> Iterator[None]:
    """Have Ctrl-C raise `UserInterrupt` while the block runs, unless somebody handles it already."""
    is_ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not is_ours or threading.current_thread() is not threading.main_thread():
        yield
        return
    heard = -ECHO_S

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        nonlocal heard
        is_echo, heard = time.monotonic() - heard < ECHO_S, time.monotonic()
        if not is_echo:
            raise UserInterrupt

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def is_from_user(error: BaseException) -> bool:
    """Tell whether an exception is of Ctrl-C or another signal, as far as can be known, and no plugin's."""
    if not isinstance(error, KeyboardInterrupt) or threading.current_thread() is not threading.main_thread():
        return False
    return (
        isinstance(error, (UserInterrupt, AskedToLeave))
        or signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )


@contextlib.contextmanager
def plugin_call(
    what: str, among: object = "", *, of_run: bool = False, is_own: bool = False
) -> Iterator[None]:
    """Turn what a plugin raises in the block into one error that names it; put back what it changed.

    What it says to the user (a `BenchError`) goes through as it is.

    Args:
        what: the plugin and what is called, e.g. `simclr: views()`.
        among: tells this call from others of the name; see `survived`.
        of_run: the harness itself works in the block, which takes as long as it takes.
        is_own: the plugin came with bench, and changes nothing.

    Raises:
        BadPlugin: it raised something else, or ended an earlier process of this command.
    """
    try:
        kept = nullcontext() if of_run or is_own else kept_state(what)
        with survived(what, RUN if of_run else CALL, among), kept:
            yield
    except BenchError:
        raise
    except BaseException as error:
        if is_from_user(error):
            raise
        message = f"{what} raised {one_line(error)}. Report it to its authors, or leave it out."
        raise BadPlugin(message) from error


def is_fault_of_plugin(error: Exception) -> bool:
    """Tell whether an error that came up in the harness's own code is a plugin's, such as a wrong answer.

    What a user can mend is not, and neither is a file that cannot be read.
    """
    return isinstance(error, BadPlugin) or not isinstance(error, (BenchError, OSError))


def why_refused(call: Callable[[], object]) -> str | None:
    """Return why a plugin says that it cannot work with what it is asked for, if it says so."""
    try:
        call()
    except Unsupported as error:
        return str(error)
    return None


class Contained:
    """A plugin's class or object, each of whose functions and properties is called across the boundary.

    Args:
        inner: the class or object; what is read of it, and is no function, is handed out as it is.
        name: of the plugin, for errors.
        within: a context for each call, such as one that explains an OSError.
        made_of: what the object was made of, which tells its calls from those of others.
        is_own: it came with bench.
    """

    def __init__(
        self,
        inner: Any,
        name: str,
        within: Callable[[], AbstractContextManager[None]] = nullcontext,
        made_of: tuple[Any, ...] = (),
        *,
        is_own: bool = False,
    ) -> None:
        self._inner, self._name, self._within, self._made_of = inner, name, within, made_of
        self._is_own = is_own

    def __call__(self, *args: Any) -> Contained:
        """Return an object of the class, contained as well."""
        made = self._call(f"{self._name}: {self._inner.__name__}()", self._inner, *args)
        return Contained(made, self._name, self._within, args, is_own=self._is_own)

    def __getattr__(self, attribute: str) -> Any:
        what = f"{self._name}: {attribute}"
        value = self._call(what, getattr, self._inner, attribute)
        return functools.partial(self._call, f"{what}()", value) if inspect.isroutine(value) else value

    def _call(self, what: str, function: Callable[..., Any], *args: Any) -> Any:
        with plugin_call(what, (*self._made_of, *args), is_own=self._is_own), self._within():
            return function(*args)

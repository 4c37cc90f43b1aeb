"""What a plugin may change of its process for everything else in it, and how it is put back.

It is put back after each call of a plugin, so that none can change the numbers of another, or where files
go. A variable of the environment that is new stays: a library may read it later.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
GUARDED = (
    "CUDA_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    "PYTHONPATH",
    "PYTHONHOME",
)  # processes begin with them
FOLDER, SIGNAL_HANDLERS, FILTERS, STREAMS = (
    "the working directory", "signal handlers", "the filters of warnings", "sys.stdout or sys.stderr",
)  # fmt: skip

log = logging.getLogger("bench")


@contextlib.contextmanager
def kept_state(who: str) -> Iterator[list[str]]:
    """Put back, at the end of the block, what it changed of its process; give a list that then says what.

    Args:
        who: is said to have changed it, in a warning; each is said once.
    """
    before, changed = _State.take(), list[str]()
    try:
        yield changed
    finally:
        changed += before.restore()
        if changed:
            _warn(f"{who} changed {', '.join(changed)}. That was put back.")


@functools.cache
def _warn(message: str) -> None:
    log.warning("%s", message)


@contextlib.contextmanager
def kept_folder() -> Iterator[None]:
    """Go back to the working directory at the end of the block, which may run in any thread."""
    before = _folder()
    try:
        yield
    finally:
        _restore_folder(before)


@dataclass(frozen=True)
class _State:
    """What a process was like.

    Args:
        folder: it works in; none where that is gone.
        variables: of its environment, as the system has them.
        filters: of warnings.
        handlers: of signals; empty in a thread that may set none.
        streams: standard output and standard error of Python.
        torch: its settings, by what they are; empty where it is not imported.
    """

    folder: str | None
    variables: Mapping[Any, Any]
    filters: list[Any]
    handlers: Mapping[str, Any]
    streams: tuple[Any, Any]
    torch: Mapping[str, Any]

    @classmethod
    def take(cls) -> _State:
        """Return what this process is like now."""
        is_main = threading.current_thread() is threading.main_thread()
        names = [name for name in SIGNALS if is_main and hasattr(signal, name)]
        return cls(
            folder=_folder(),
            variables=_environment(),
            filters=list(warnings.filters),
            handlers={name: signal.getsignal(getattr(signal, name)) for name in names},
            streams=(sys.stdout, sys.stderr),
            torch={name: _read(name) for name in _settings()},
        )

    def restore(self) -> list[str]:
        """Put back what has changed since, and return what that was."""
        changed = [FOLDER] if _restore_folder(self.folder) else []
        changed += self._restore_variables()
        changed += self._restore_torch()
        if changed_handlers := [
            name
            for name, handler in self.handlers.items()
            if handler is not None and signal.getsignal(getattr(signal, name)) is not handler
        ]:
            for name in changed_handlers:
                signal.signal(getattr(signal, name), self.handlers[name])
            changed.append(SIGNAL_HANDLERS)
        if warnings.filters != self.filters:
            warnings.resetwarnings()  # which also tells warnings that what it remembers no longer holds
            warnings.filters[:] = self.filters  # type: ignore[index]
        sys.stdout, sys.stderr = self.streams
        return changed

    def _restore_variables(self) -> Iterator[str]:
        if _environment() == self.variables:
            return
        before = {os.fsdecode(name): os.fsdecode(value) for name, value in self.variables.items()}
        for name, value in before.items():
            if os.environ.get(name) != value:
                os.environ[name] = value
                yield f"the environment variable {name}"
        for name in GUARDED:
            if name in os.environ and name not in before:
                del os.environ[name]
                yield f"the environment variable {name}"

    def _restore_torch(self) -> Iterator[str]:
        for name, (_, write) in _settings().items():
            before = self.torch.get(
                name, USUAL.get(name)
            )  # of a torch that the block has imported, the usual
            if before is not None and _read(name) != before:
                write(sys.modules["torch"], before)
                yield name


def _read(name: str) -> Any:
    """Return a setting of torch; none where it refuses to say, as of TF32 that was set in two ways."""
    try:
        return _settings()[name][0](sys.modules["torch"])
    except RuntimeError:
        return None


def _environment() -> dict[Any, Any]:
    """Return the environment as the system has it, for text takes twenty times as long."""
    data: dict[Any, Any] = vars(os.environ)["_data"]
    return dict(data)


def _folder() -> str | None:
    try:
        return os.getcwd()  # noqa: PTH109 - as text, which is quicker
    except OSError:
        return None


def _restore_folder(before: str | None) -> bool:
    """Go back to a folder; tell whether that was necessary."""
    if before is None or _folder() == before:
        return False
    with contextlib.suppress(OSError):  # it was removed meanwhile
        os.chdir(before)
    return True


def _settings() -> Mapping[str, tuple[Callable[[Any], Any], Callable[[Any, Any], Any]]]:
    """Return how each setting of torch is read and written; nothing where it is not imported."""
    return TORCH if hasattr(sys.modules.get("torch"), "set_default_dtype") else {}


def _set_device(torch: Any, name: str) -> None:
    torch.set_default_device(None if name == "cpu" else name)  # any but none makes each call slower


def _set_deterministic(torch: Any, values: tuple[bool, bool]) -> None:
    torch.use_deterministic_algorithms(values[0], warn_only=values[1])


def _set_cudnn(torch: Any, values: tuple[bool, bool, bool]) -> None:
    cudnn = torch.backends.cudnn
    cudnn.enabled, cudnn.benchmark, cudnn.deterministic = values


def _set_tf32(torch: Any, values: tuple[bool, bool]) -> None:
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = values


TORCH: Mapping[str, tuple[Callable[[Any], Any], Callable[[Any, Any], Any]]] = {
    "torch's default dtype": (
        lambda t: str(t.get_default_dtype()).removeprefix("torch."),
        lambda t, v: t.set_default_dtype(getattr(t, v)),
    ),
    "torch's default device": (lambda t: str(t.get_default_device()), _set_device),
    "torch's number of threads": (lambda t: t.get_num_threads(), lambda t, v: t.set_num_threads(v)),
    "torch's choice of deterministic algorithms": (
        lambda t: (
            t.are_deterministic_algorithms_enabled(),
            t.is_deterministic_algorithms_warn_only_enabled(),
        ),
        _set_deterministic,
    ),
    "torch's recording of gradients": (lambda t: t.is_grad_enabled(), lambda t, v: t.set_grad_enabled(v)),
    "torch's detection of anomalies": (
        lambda t: t.is_anomaly_enabled(),
        lambda t, v: t.autograd.set_detect_anomaly(v),
    ),
    "cuDNN's settings": (
        lambda t: (t.backends.cudnn.enabled, t.backends.cudnn.benchmark, t.backends.cudnn.deterministic),
        _set_cudnn,
    ),
    "TF32": (
        lambda t: (t.backends.cuda.matmul.allow_tf32, t.backends.cudnn.allow_tf32),
        _set_tf32,
    ),
}
USUAL: Mapping[str, Any] = {  # as torch is imported
    "torch's default dtype": "float32",
    "torch's default device": "cpu",
    "torch's choice of deterministic algorithms": (False, False),
    "torch's recording of gradients": True,
    "torch's detection of anomalies": False,
    "cuDNN's settings": (True, False, False),
    "TF32": (False, True),
}

"""What a plugin changes of its process is put back, and said."""

from __future__ import annotations

import ast
import io
import logging
import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from environment import environment

from bench.system.process_state import USUAL, kept_folder, kept_state

CHANGES: dict[str, tuple[Callable[[], object], Callable[[], object], str]] = {  # the change, what it changes
    "cwd": (lambda: os.chdir("/"), Path.cwd, "the working directory"),
    "dtype": (
        lambda: torch.set_default_dtype(torch.float64), torch.get_default_dtype, "torch's default dtype"
    ),
    "device": (lambda: torch.set_default_device("meta"), torch.get_default_device, "torch's default device"),
    "threads": (lambda: torch.set_num_threads(3), torch.get_num_threads, "torch's number of threads"),
    "deterministic": (
        lambda: torch.use_deterministic_algorithms(mode=True),
        torch.are_deterministic_algorithms_enabled,
        "torch's choice of deterministic algorithms",
    ),
    "gradients": (
        lambda: torch.set_grad_enabled(False), torch.is_grad_enabled, "torch's recording of gradients"
    ),
    "anomalies": (
        lambda: torch.autograd.set_detect_anomaly(True),
        torch.is_anomaly_enabled,
        "torch's detection of anomalies",
    ),
    "cudnn": (
        lambda: setattr(torch.backends.cudnn, "benchmark", not torch.backends.cudnn.benchmark),
        lambda: torch.backends.cudnn.benchmark,
        "cuDNN's settings",
    ),
    "tf32": (
        lambda: setattr(torch.backends.cuda.matmul, "fp32_precision", "tf32"),
        lambda: torch.backends.cuda.matmul.allow_tf32,
        "TF32",
    ),
    "variable": (
        lambda: os.environ.update(HOME="/nowhere"),
        lambda: os.environ["HOME"],
        "the environment variable HOME",
    ),
    "removed variable": (
        lambda: os.environ.pop("PATH"), lambda: os.environ["PATH"], "the environment variable PATH"
    ),
    "seen GPUs": (
        lambda: os.environ.update(CUDA_VISIBLE_DEVICES="3"),
        lambda: os.environ.get("CUDA_VISIBLE_DEVICES"),
        "the environment variable CUDA_VISIBLE_DEVICES",
    ),
    "a signal": (
        lambda: signal.signal(signal.SIGUSR2, signal.SIG_IGN),
        lambda: signal.getsignal(signal.SIGUSR2),
        "signal handlers",
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def usual(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the variables that are changed, and no GPU named."""
    monkeypatch.setenv("HOME", "/home")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_put_back_and_said(name: str, caplog: pytest.LogCaptureFixture) -> None:
    change, read, called = CHANGES[name]
    before = read()
    with caplog.at_level(logging.WARNING), kept_state(f"a plugin ({name})") as changed:
        change()

    assert read() == before
    assert changed == [called]
    assert caplog.messages == [f"a plugin ({name}) changed {called}. That was put back."]


def change_and_raise() -> None:
    os.chdir("/")
    os.chdir("/nowhere/to/be/found")


def test_it_is_put_back_where_the_plugin_raises_as_well() -> None:
    before = Path.cwd()
    with pytest.raises(FileNotFoundError), kept_state("one that raises"):
        change_and_raise()

    assert Path.cwd() == before


def test_what_changes_nothing_of_others_is_not_said(caplog: pytest.LogCaptureFixture) -> None:
    filters, streams = list(warnings.filters), (sys.stdout, sys.stderr)
    with kept_state("a quiet one") as changed:
        warnings.simplefilter("ignore")
        sys.stdout = sys.stderr = io.StringIO()
        os.environ["A_LIBRARY_OF_ITS_OWN"] = "on"

    assert changed == []
    assert warnings.filters == filters
    assert (sys.stdout, sys.stderr) == streams
    assert os.environ.pop("A_LIBRARY_OF_ITS_OWN") == "on"
    assert caplog.messages == []


def test_the_same_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        with kept_state("one that is called often"):
            os.chdir("/")

    assert len(caplog.messages) == 1


def test_a_thread_puts_the_folder_back_and_no_signals(tmp_path: Path) -> None:
    before, found = Path.cwd(), list[object]()

    def work() -> None:
        with kept_folder(), kept_state("a thread") as changed:
            os.chdir(tmp_path)
        found.extend(changed)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    assert Path.cwd() == before
    assert found == ["the working directory"]


def test_what_torch_is_as_it_is_imported_is_known() -> None:
    code = "import torch, bench.system.process_state as s; print({n: s._read(n) for n in s.USUAL})"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    )

    assert ast.literal_eval(done.stdout) == USUAL


def test_what_cannot_be_read_is_left() -> None:
    """Of a process in which TF32 is set in two ways, which torch refuses to read, all else is put back."""
    before = torch.get_default_dtype()
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    try:
        with kept_state("one in a strange process") as changed:
            torch.set_default_dtype(torch.float64)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False

    assert changed == ["torch's default dtype"]
    assert torch.get_default_dtype() == before

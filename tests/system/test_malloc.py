"""Memory that is freed and wanted again at once stays with the process."""

from __future__ import annotations

import platform
import subprocess
import sys

# Minor page faults of taking 16 MiB twenty times, after the first.
FAULTS = """
import resource
from bench.system.malloc import keep_freed_pages
{call}
b"x" * 2**24
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    b"x" * 2**24
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(call: str) -> int:
    command = [sys.executable, "-c", FAULTS.format(call=call)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def test_memory_is_not_fetched_from_the_kernel_again() -> None:
    keeping, returning = faults("keep_freed_pages()"), faults("")

    assert keeping < 100 or platform.libc_ver()[0] != "glibc"
    assert returning >= keeping

"""Readers of what may be a stranger's take any bytes: changes of what they take, the same in each run."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np
import pytest
from fuzzing.targets import TARGETS, list_seeds
from numpy.random import Generator

TRIED = {
    "checkpoint": 60,
    "image": 80,
    "record": 60,
    "manifest": 40,
    "grid": 60,
}
USUALLY = 120
TOKENS = (
    b"[", b"{", b'"', b":", b",", b"\n", b"\0", b"\xff", b"*a", b"&a", b"1e999", b"-", b"null", b"NaN",
    b"9" * 400, b"!!python/object:os.system ", b"\xed\xa0\x80", b"<<: ", b"true", b"\x1b[31m", b"? ", b"../",
)  # fmt: skip


def change(data: bytes, draws: Generator) -> bytes:
    """Return bytes in which a few places are others, missing, twice or cut off."""
    content = bytearray(data)
    for _ in range(draws.integers(1, 4)):
        at, length = int(draws.integers(len(content) + 1)), int(draws.integers(1, 12))
        match draws.integers(5):
            case 0:
                content[at : at + 1] = bytes([int(draws.integers(256))])
            case 1:
                del content[at : at + length]
            case 2:
                content[at:at] = content[at : at + length]
            case 3:
                content[at:at] = TOKENS[int(draws.integers(len(TOKENS)))]
            case _ if draws.random() < 0.3:
                del content[at:]
    return bytes(content)


def list_changes(name: str) -> Iterator[bytes]:
    draws, seeds = np.random.default_rng(3), list_seeds(name)
    yield from (b"", b"\0", b"\n", b"[" * 10_000, b"{" * 10_000, *seeds)
    for number in range(TRIED.get(name, USUALLY)):
        yield change(seeds[number % len(seeds)], draws)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes_are_taken_or_refused_in_one_line(name: str) -> None:
    level = logging.getLogger("bench").level
    try:
        for data in list_changes(name):
            try:
                TARGETS[name](data)
            except Exception as error:
                raise AssertionError(f"{name} of {data[:2000]!r}") from error
    finally:
        logging.getLogger("bench").setLevel(level)

"""Readers of what may be a stranger's take any bytes: changes of what they take, the same in each run."""

from __future__ import annotations

import pytest
from fuzzing.targets import TARGETS, list_seeds
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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


SMALL = (b"", b"\0", b"\n", b"[" * 10_000, b"{" * 10_000)


@st.composite
def changes(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    """Draw bytes that are taken, of which a few places are others, missing, twice or cut off."""
    content = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, 3))):
        at, length = draw(st.integers(0, len(content))), draw(st.integers(1, 12))
        match draw(st.sampled_from(("other", "missing", "twice", "token", "cut"))):
            case "other":
                content[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
            case "missing":
                del content[at : at + length]
            case "twice":
                content[at:at] = content[at : at + length]
            case "token":
                content[at:at] = draw(st.sampled_from(TOKENS))
            case "cut":
                del content[at:]
    return bytes(content)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes_are_taken_or_refused_in_one_line(name: str) -> None:
    seeds = tuple(list_seeds(name))

    @settings(
        max_examples=TRIED.get(name, USUALLY),
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(changes(seeds))
    def take(data: bytes) -> None:
        TARGETS[name](data)

    for data in (*SMALL, *seeds):
        TARGETS[name](data)
    take()

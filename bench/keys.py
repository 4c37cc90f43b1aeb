"""Identity and randomness: the digest of a value, and the seed of a draw from its position in the run."""

from __future__ import annotations

import hashlib
import json
from typing import Any

KEY_LENGTH = 20  # hex digits: 80 bits, no collision to fear below a billion cells


def canonical(value: Any) -> str:
    """Return `value` as JSON, the same wherever and however the value was built.

    Raises:
        ValueError: `value` holds a number that is not finite, which JSON cannot carry.
        TypeError: `value` holds something that is not plain data.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:
    """Return the key of `value`, as hexadecimal digits."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:KEY_LENGTH]


def seed_of(*position: int | str) -> int:
    """Return the seed of the draw at a position of a run, e.g. `seed_of(0, "shuffle", epoch)`.

    Every draw depends on its position and not on what was drawn before it: that is why a run resumed at
    any step is bitwise the run that was never stopped, on as many threads.
    """
    return int.from_bytes(hashlib.sha256(canonical(position).encode()).digest()[:8], "big") >> 1

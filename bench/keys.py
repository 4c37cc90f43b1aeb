"""Identity and randomness: a value's digest, and the seed of a draw from where it stands."""

from __future__ import annotations

import hashlib
import json
from typing import Any

KEY_LENGTH = 20  # hex digits: 80 bits, no collision to fear below a billion cells


def canonical(value: Any) -> str:
    """Return `value` as JSON that is alike wherever and however it was built.

    Raises:
        ValueError: `value` holds a number that is not finite, which JSON cannot carry.
        TypeError: `value` holds something that is not plain data.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:
    """Return the key of `value`, as hexadecimal digits."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:KEY_LENGTH]


def seed_of(*place: int | str) -> int:
    """Return the seed of the draw that stands at `place`, e.g. `seed_of(0, "shuffle", epoch)`.

    Every draw is a function of where it stands and not of what was drawn before it: that is
    why a run resumed at any step is bitwise the run that was never stopped.
    """
    return int.from_bytes(hashlib.sha256(canonical(place).encode()).digest()[:8], "big") >> 1

"""What processes leave for each other to find, without waiting for each other."""

from __future__ import annotations

import pickle
from typing import Any

from torch._C._distributed_c10d import Store

PIECE_BYTES = 4 << 20  # torch's server refuses values of more than 8 MB


class Board:
    """Values by name, on the server where the processes have met.

    Args:
        store: of them all.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def leave(self, name: str, value: Any) -> None:
        """Leave a value that can be pickled; whoever finds it finds all of it."""
        data = pickle.dumps(value)
        pieces = [data[start : start + PIECE_BYTES] for start in range(0, len(data), PIECE_BYTES)]
        for number, piece in enumerate(pieces):
            self._store.set(f"{name}/{number}", piece)  # type: ignore[arg-type]  # its stub knows text alone
        self._store.set(name, str(len(pieces)))

    def find(self, name: str) -> Any:
        """Return the value that was left under a name; none where there is none yet."""
        if not self._store.check([name]):
            return None
        count = int(self._store.get(name))
        return pickle.loads(b"".join(self._store.get(f"{name}/{number}") for number in range(count)))  # noqa: S301 - of our own processes

    def take(self, name: str, rank: int) -> int:
        """Take what only one can have, and return who has it: the first that asked."""
        return int(self._store.compare_set(name, "", str(rank)))

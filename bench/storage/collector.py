"""Python's search for objects that refer to each other in a circle."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def paused_collector() -> Iterator[None]:
    """Leave the search out while the block makes many objects that are in no circle.

    Python looks at all that there is each time it has grown by a quarter: that took a quarter of the time of
    a table of a hundred thousand records.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()

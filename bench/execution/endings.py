"""The words for a process that ended in the middle of its work."""

from __future__ import annotations

KILLED = "It was killed, or memory ran out: use fewer --jobs, or set train.chunk_size."
BROKEN = "A plugin or a library ended it: report it to its authors, or leave it out."


def explain_end(ended: str, stage: str = "") -> str:
    """Return why a cell failed whose process ended.

    Args:
        ended: how, e.g. `SIGSEGV` or `exit status 0`.
        stage: of the cell; empty where that is not known.
    """
    place = f" in the stage {stage}" if stage else ""
    return f"its process ended{place} ({ended}). {KILLED if ended == 'SIGKILL' else BROKEN}"

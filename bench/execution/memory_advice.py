"""What to set where a cell runs out of memory: which setting, and to what."""

from __future__ import annotations

from bench.planning.cells import Cell

MORE_ROOM = {  # what needs less memory in a stage
    "data": "Use fewer --jobs, or --packed.",
    "evaluate": "Use fewer --jobs, a smaller --label-frac, or --device cpu.",
}


def advise_room(stage: str, cell: Cell | None) -> str:
    """Return what to set so that a stage of a cell takes less memory.

    Args:
        stage: in which memory ran out.
        cell: that it was at; none where that is not known.
    """
    if stage in MORE_ROOM:
        return MORE_ROOM[stage]
    if stage in ("pretrain", "process") and cell and cell.training:
        images = cell.training.chunk_size or cell.training.batch_size
        return (
            f"Use --set train.chunk_size={max(1, images // 2)} ({images} images at a time were too many), "
            "a smaller --batch-size, or fewer --jobs."
        )
    size = f" (it is {cell.image_size})" if cell else ""
    return f"Use fewer --jobs, or a smaller --image-size{size}."

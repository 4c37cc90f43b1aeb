"""Say which images are there twice: in two splits, or in two classes, by their content."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

File = tuple[str, int, int, str, int]  # path, bytes, stamp, split and label


def describe_doubles(files: Sequence[File], digests: Sequence[str]) -> tuple[str, ...]:
    """Return a note about images of two splits, and one about those of two classes.

    Args:
        files: n of them; a label is -1 where there is none.
        digests: of the content of each, empty of what is no file.
    """
    starts = np.array([int(content[:16] or "0", 16) for content in digests], dtype=np.uint64)
    if len(np.unique(starts)) == len(starts):  # a set of a million texts would fill memory
        return ()
    doubles = list(_group(files, digests))
    parted = [(one, other) for one, other in doubles if one[3] != other[3]]
    mixed = [(one, other) for one, other in doubles if one[4] != other[4] and min(one[4], other[4]) >= 0]
    kinds = {"splits": parted, "classes": mixed}
    return tuple(
        f"{len(pairs)} {'image is' if len(pairs) == 1 else 'images are'} in two {kind}, "
        f"e.g. {one[0]} is {other[0]}"
        for kind, pairs in kinds.items()
        for one, other in pairs[:1]
    )


def _group(files: Sequence[File], digests: Sequence[str]) -> Iterator[tuple[File, File]]:
    """Yield each image of a content that was there before, with one that it differs from, or the first."""
    first: dict[str, list[File]] = {}
    for file, content in zip(files, digests, strict=True):
        known = first.setdefault(content, [])
        for other in known if content else ():
            yield file, other
        if all(file[3:] != other[3:] for other in known):
            known.append(file)

"""How many of the labels are used: a share of each class, or so many images of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LabelAmount:
    """A number of labelled images of each class.

    Args:
        fraction: of the images of the class, in (0, 1].
        shots: images of the class, whatever its size; none where it is a fraction that counts.
        keep_one: a fraction that leaves a class without an image takes one of it.
    """

    fraction: float = 1.0
    shots: int | None = None
    keep_one: bool = False

    @property
    def is_all(self) -> bool:
        """Whether every label is used."""
        return self.shots is None and self.fraction == 1

    def count(self, images: int) -> int:
        """Return how many of a class's images are taken; 0 where the class does not have as many."""
        if self.shots is not None:
            return self.shots if self.shots <= images else 0
        return max(round(self.fraction * images), 1 if self.keep_one else 0)


ALL_LABELS = LabelAmount()

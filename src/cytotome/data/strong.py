"""Strong augmentation of a crop's pixels, as in FixMatch (Sohn et al. 2020, arXiv 2001.07685)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cytotome.data.augment import Augmentation, change_grey_levels
from cytotome.types import FloatArray

CHANGES = ("brightness", "contrast", "gamma", "noise", "blur")


@dataclass(frozen=True, slots=True)
class StrongChange:
    """Changes of grey levels, then rectangles filled with the crop's mean (DeVries and Taylor 2017, arXiv 1708.04552).

    Attributes:
        augmentation: provides probabilities and ranges of the changes of grey levels.
        cutouts: number of rectangles.
        cutout_size: maximum side of a rectangle, as a fraction of the crop's side.
    """

    augmentation: Augmentation
    cutouts: int = 3
    cutout_size: float = 0.25

    @classmethod
    def of(cls, augmentation: Augmentation, strength: float, cutouts: int, cutout_size: float) -> StrongChange:
        """Creates the change with the probabilities, up to 1, and ranges of an augmentation times ``strength``."""
        fields = {name: min(1.0, strength * getattr(augmentation, name)) for name in CHANGES}
        fields |= {f"{name}_range": strength * getattr(augmentation, f"{name}_range") for name in CHANGES}
        return cls(augmentation.model_copy(update=fields), cutouts, cutout_size)

    def __call__(self, rng: np.random.Generator, pixels: FloatArray) -> FloatArray:
        """Returns a changed copy of ``(H, W, C)`` float32 pixels."""
        changed = change_grey_levels(rng, self.augmentation, pixels).copy()
        size = np.array(changed.shape[:2])
        mean = changed.mean(axis=(0, 1))
        for _ in range(self.cutouts):
            sides = np.maximum(1, rng.uniform(0, self.cutout_size, 2) * size).astype(int)
            top, left = rng.integers(0, size - sides + 1)
            changed[top : top + sides[0], left : left + sides[1]] = mean
        return changed

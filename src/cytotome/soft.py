"""Soft masks: mask probabilities on small grids, for :mod:`cytotome.ops.soft_masks`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cytotome.errors import DataError


@dataclass(frozen=True, slots=True, eq=False)
class SoftMasks:
    """Mask probabilities of N objects, each a small grid over its own box.

    The grid of instance ``i`` is ``values[offsets[i]:offsets[i + 1]]``, row-major, of ``sizes[i]``; its cells divide
    the box evenly. So a grid stays the same when an image is resized or cropped: only the box changes. A crop in pixels
    of the image is a grid whose box has whole numbers and its own size. See :mod:`cytotome.ops.soft_masks`.

    Attributes:
        values: ``(P,)`` float32 probabilities in [0, 1] of all grids, one after the other.
        sizes: ``(N, 2)`` int32, rows and columns of each grid.
        boxes: ``(N, 4)`` float32 of ``y0, x0, y1, x1`` in pixels, half open; pixel k covers k to k + 1.

    Raises:
        DataError: if the sizes of the three do not match.
    """

    values: npt.NDArray[np.float32]
    sizes: npt.NDArray[np.int32]
    boxes: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.sizes.ndim != 2 or self.sizes.shape[1] != 2 or self.boxes.shape != (len(self.sizes), 4):
            raise DataError(
                f"soft masks: sizes must be (N, 2) and boxes (N, 4), got {self.sizes.shape} and {self.boxes.shape}"
            )
        pixels = int(self.sizes.astype(np.int64).prod(axis=1).sum())
        if self.values.shape != (pixels,):
            raise DataError(f"soft masks: values must be ({pixels},), the sum of all sizes, got {self.values.shape}")

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def offsets(self) -> npt.NDArray[np.int64]:
        """``(N + 1,)`` int64, start of each grid in ``values``."""
        return np.concatenate([[0], np.cumsum(self.sizes.astype(np.int64).prod(axis=1))]).astype(np.int64)

    def grid(self, index: int) -> npt.NDArray[np.float32]:
        """Returns the grid of one instance, ``(rows, columns)`` float32."""
        offsets = self.offsets
        return self.values[offsets[index] : offsets[index + 1]].reshape(*self.sizes[index])

    def select(self, index: npt.NDArray[np.int64]) -> SoftMasks:
        """Returns the grids at these positions, in the order given."""
        offsets = self.offsets
        counts = (offsets[1:] - offsets[:-1])[index]
        starts = np.cumsum(counts) - counts
        places = np.repeat(offsets[:-1][index] - starts, counts) + np.arange(counts.sum())
        return SoftMasks(self.values[places], self.sizes[index], self.boxes[index])

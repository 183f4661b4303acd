"""Propagation of labels along vectors."""

from __future__ import annotations

import numpy as np

from cytotome.arrays import AnyArray
from cytotome.ops.kernels import kernel


@kernel
def follow_to_labels(labels: AnyArray, mask: AnyArray, direction: AnyArray, steps: int) -> AnyArray:
    """``(H, W)`` int32: each unlabelled pixel of the mask gets the first label on its path.

    A path goes from each pixel to the one of its eight neighbours at which its vector points.

    Args:
        labels: ``(H, W)`` int32, 0 is unlabelled.
        mask: ``(H, W)`` bool; a path ends where it leaves the mask.
        direction: ``(2, H, W)`` float32, y and x, of unit length or shorter; paths end at vectors shorter than 0.5.
        steps: maximum length of a path.
    """
    height, width = labels.shape
    taken = labels.copy()
    for y in range(height):
        for x in range(width):
            if not mask[y, x] or labels[y, x] > 0:
                continue
            v, u = y, x
            for _ in range(steps):
                dy, dx = direction[0, v, u], direction[1, v, u]
                norm = np.sqrt(dy * dy + dx * dx)
                if norm < 0.5:
                    break
                v, u = v + int(np.rint(dy / norm)), u + int(np.rint(dx / norm))
                if v < 0 or u < 0 or v >= height or u >= width or not mask[v, u]:
                    break
                if labels[v, u] > 0:
                    taken[y, x] = labels[v, u]
                    break
    return taken

"""Labels taken over along vectors."""

from __future__ import annotations

import numpy as np

from cytotome.arrays import AnyArray
from cytotome.ops.kernels import kernel


@kernel
def follow_to_labels(labels: AnyArray, mask: AnyArray, direction: AnyArray, steps: int) -> AnyArray:
    """``(H, W)`` int32: each pixel of the mask without a label takes that of the first labelled one that it leads to.

    A pixel leads to that of its eight neighbours which its vector points at.

    Args:
        labels: ``(H, W)`` int32, 0 where there is none.
        mask: ``(H, W)`` bool; a way that leaves it ends.
        direction: ``(2, H, W)`` float32, y and x, of unit length or shorter; vectors shorter than a half lead nowhere.
        steps: after which a way ends.
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

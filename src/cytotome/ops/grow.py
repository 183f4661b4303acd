"""Growing labels into a mask."""

from __future__ import annotations

import numpy as np

from cytotome.arrays import AnyArray
from cytotome.ops.kernels import kernel


@kernel
def grow_labels(labels: AnyArray, mask: AnyArray, steps: int) -> None:
    """Gives each unlabelled pixel of the mask the label of the nearest labelled pixel, by distance within the mask.

    Args:
        labels: ``(H, W)`` int32, 0 is unlabelled; changed in place.
        mask: ``(H, W)`` bool.
        steps: maximum number of pixels (4-neighbourhood) by which labels grow.
    """
    height, width = labels.shape
    front = np.empty(height * width, np.int32)
    tail = 0
    for k in range(height * width):
        if labels[k // width, k % width] > 0:
            front[tail] = k
            tail += 1
    head = 0
    for _ in range(steps):
        end = tail
        while head < end:
            y, x = front[head] // width, front[head] % width
            head += 1
            for dy, dx in ((-1, 0), (0, -1), (0, 1), (1, 0)):
                v, u = y + dy, x + dx
                if 0 <= v < height and 0 <= u < width and mask[v, u] and labels[v, u] == 0:
                    labels[v, u] = labels[y, x]
                    front[tail] = v * width + u
                    tail += 1
        if head == tail:
            break

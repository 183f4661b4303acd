"""Filling of holes in labels."""

from __future__ import annotations

import numpy as np

from cytotome.arrays import AnyArray, IntArray
from cytotome.ops.flows import label_boxes
from cytotome.ops.kernels import kernel


def fill_holes(labels: IntArray, count: int) -> None:
    """Fills background that is completely enclosed by one label, in place.

    Background is 4-connected. Holes that touch another label are not filled.

    Args:
        labels: ``(H, W)`` int32, values 0 to ``count``.
        count: largest label.
    """
    if count:
        _fill_enclosed(labels, label_boxes(labels, count))


@kernel
def _fill_enclosed(labels: AnyArray, boxes: AnyArray) -> None:
    """Fills the holes of each label, in place, by flooding the background inside its box.

    Args:
        labels: ``(H, W)`` int32.
        boxes: ``(count + 1, 4)`` int32 of ``y0, x0, y1, x1``, as returned by :func:`~cytotome.ops.flows.label_boxes`.
    """
    height, width = labels.shape
    seen = np.zeros((height, width), np.int32)
    queue = np.empty(height * width, np.int32)
    for label in range(1, len(boxes)):
        y0, x0, y1, x1 = boxes[label]
        for y in range(y0 + 1, y1 - 1):
            for x in range(x0 + 1, x1 - 1):
                if labels[y, x] != 0 or seen[y, x] == label or labels[y, x - 1] != label:
                    continue
                head, tail = 0, 1
                queue[0] = y * width + x
                seen[y, x] = label
                enclosed = True
                while head < tail:
                    cy, cx = queue[head] // width, queue[head] % width
                    head += 1
                    for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1)):
                        v, u = cy + dy, cx + dx
                        if v < y0 or u < x0 or v >= y1 or u >= x1:
                            enclosed = False
                        elif labels[v, u] == 0:
                            if seen[v, u] != label:
                                seen[v, u] = label
                                queue[tail] = v * width + u
                                tail += 1
                        elif labels[v, u] != label:
                            enclosed = False
                if enclosed:
                    for k in range(tail):
                        labels[queue[k] // width, queue[k] % width] = label

"""Transposed runs: COCO counts pixels by column, everything here by row."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from cytotome.arrays import AnyArray
from cytotome.ops.kernels import grown, kernel

if TYPE_CHECKING:
    from cytotome.types import Instances


def transpose(instances: Instances) -> Instances:
    """Returns the instances of the transposed image, of shape ``(W, H)``; scores, classes and ids are unchanged."""
    boxes = instances.boxes
    capacity = int(((boxes[:, 3] - boxes[:, 1]).astype(np.int64) * (boxes[:, 2] - boxes[:, 0])).max(initial=0))
    runs, offsets = _transpose(instances.runs, instances.offsets, boxes, np.zeros(capacity, np.uint8))
    return replace(instances, shape=(instances.shape[1], instances.shape[0]), runs=runs, offsets=offsets, soft=None)


@kernel
def _transpose(runs: AnyArray, offsets: AnyArray, boxes: AnyArray, canvas: AnyArray) -> tuple[AnyArray, AnyArray]:
    """Paints each instance transposed inside its box and reads the runs of the rows.

    Args:
        runs, offsets, boxes: ``(R, 3)``, ``(N + 1,)`` and ``(N, 4)`` of the instances.
        canvas: uint8 scratch, at least as large as the largest box.

    Returns:
        ``(runs (R', 3) int32, offsets (N + 1,) int64)``.
    """
    result = np.empty((2 * len(runs) + 16, 3), np.int32)
    result_offsets = np.zeros(len(offsets), np.int64)
    found = 0
    for i in range(len(offsets) - 1):
        y0, x0, y1, x1 = boxes[i]
        height, width = y1 - y0, x1 - x0
        crop = canvas[: height * width].reshape(width, height)
        crop[:] = 0
        pixels = 0
        for k in range(offsets[i], offsets[i + 1]):
            row = runs[k, 0] - y0
            for x in range(runs[k, 1] - x0, runs[k, 2] - x0):
                crop[x, row] = 1
            pixels += runs[k, 2] - runs[k, 1]
        if found + pixels > len(result):
            result = grown(result, 2 * (found + pixels))
        for x in range(width):
            y = 0
            while y < height:
                if crop[x, y] == 0:
                    y += 1
                    continue
                start = y
                while y < height and crop[x, y] != 0:
                    y += 1
                result[found, 0], result[found, 1], result[found, 2] = x + x0, start + y0, y + y0
                found += 1
        result_offsets[i + 1] = found
    return result[:found].copy(), result_offsets

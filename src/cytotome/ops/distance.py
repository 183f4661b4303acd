"""The distance of each pixel to the boundary of its instance, and the direction away from the boundary.

These are the targets of the deep watershed transform (Bai and Urtasun 2017, arXiv 1611.08303).
"""

from __future__ import annotations

import edt
import numpy as np

from cytotome.arrays import AnyArray, FloatArray, IntArray
from cytotome.ops.kernels import kernel


def boundary_distance(labels: IntArray) -> FloatArray:
    """``(H, W)`` float32 Euclidean distance in pixels to the nearest pixel of another label; 0 on background.

    A pixel next to another label has distance 1. The border of the image is not a boundary.

    Args:
        labels: ``(H, W)`` int32, 0 is background.
    """
    distance: FloatArray = edt.edt(np.ascontiguousarray(labels, np.int32), black_border=False, parallel=1)
    return distance


def away_from_boundary(labels: IntArray, distance: FloatArray) -> FloatArray:
    """Unit vectors ``(2, H, W)`` float32 in the order y, x: the normalised gradient of the distance; 0 on background.

    The gradient is a Sobel filter over pixels of the same label; pixels of other labels count as one pixel outside,
    since distances increase on both sides of a boundary between two instances. On ridges, where the gradient vanishes,
    the vector is 0.

    Args:
        labels: ``(H, W)`` int32.
        distance: of :func:`boundary_distance` on these labels.
    """
    field = np.zeros((2, *labels.shape), np.float32)
    _fill_directions(np.ascontiguousarray(labels, np.int32), distance, field)
    return field


@kernel(fastmath=True)
def _fill_directions(labels: AnyArray, distance: AnyArray, field: AnyArray) -> None:
    """Writes the vectors of :func:`away_from_boundary` to ``field`` ``(2, H, W)``, from labels and distances ``(H,
    W)``.
    """
    height, width = labels.shape
    for y in range(height):
        for x in range(width):
            label = labels[y, x]
            if label == 0:
                continue
            here = distance[y, x]
            dy, dx = np.float32(0), np.float32(0)
            for v in range(-1, 2):
                for u in range(-1, 2):
                    t, s = y + v, x + u
                    if (v == 0 and u == 0) or t < 0 or s < 0 or t >= height or s >= width:
                        continue
                    rise = (distance[t, s] if labels[t, s] == label else np.float32(0)) - here
                    if v == 0 or u == 0:
                        rise *= np.float32(2)
                    dy += v * rise
                    dx += u * rise
            norm = np.sqrt(dy * dy + dx * dx)
            if norm > np.float32(0.5):
                field[0, y, x] = dy / norm
                field[1, y, x] = dx / norm


def distance_levels(distance: FloatArray, edges: FloatArray) -> IntArray:
    """``(H, W)`` int32: 0 where the distance is 0, else 1 + the number of ``edges`` it reaches.

    Args:
        distance: ``(H, W)`` float32, 0 or more.
        edges: ``(K,)`` float32, increasing, all above 0.
    """
    return _levels(distance, np.ascontiguousarray(edges, np.float32))


@kernel
def _levels(distance: AnyArray, edges: AnyArray) -> AnyArray:
    """``(H, W)`` int32 of a distance ``(H, W)`` and increasing edges ``(K,)``, see :func:`distance_levels`."""
    levels = np.zeros(distance.shape, np.int32)
    for y in range(distance.shape[0]):
        for x in range(distance.shape[1]):
            here = distance[y, x]
            if here > 0:
                level = 0
                while level < len(edges) and edges[level] <= here:
                    level += 1
                levels[y, x] = level + 1
    return levels

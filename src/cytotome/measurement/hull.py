"""Convex hulls of pixel sets, in exact integer arithmetic.

A pixel is represented by the four midpoints of its edges, as in :func:`skimage.morphology.convex_hull_image`. All
coordinates are doubled, so that these midpoints are integers.
"""

from __future__ import annotations

import numpy as np

from cytotome.ops.kernels import kernel
from cytotome.types import AnyArray


@kernel
def convex_hull(runs: AnyArray) -> tuple[AnyArray, AnyArray]:
    """Computes the left and right chain of the hull of a mask.

    Args:
        runs: ``(R, 3)`` int32, R >= 1, ordered by row.

    Returns:
        ``(left (A, 2), right (B, 2))`` int64 of doubled y, x, by increasing y, from the top of the mask to its bottom.
    """
    top, bottom = runs[0, 0], runs[-1, 0]
    count = 2 * (bottom - top) + 3
    outer = np.empty((2, count), np.int64)  # by doubled row - (2 top - 1): minimum x, maximum x
    outer[0], outer[1] = np.iinfo(np.int64).max, np.iinfo(np.int64).min
    for k in range(len(runs)):
        at = 2 * (runs[k, 0] - top) + 1
        first, last = 2 * np.int64(runs[k, 1]), 2 * np.int64(runs[k, 2]) - 2
        for step, reach in ((-1, 0), (0, 1), (1, 0)):
            outer[0, at + step] = min(outer[0, at + step], first - reach)
            outer[1, at + step] = max(outer[1, at + step], last + reach)
    return _chain(outer[0], 2 * top - 1, 1), _chain(outer[1], 2 * top - 1, -1)


@kernel
def _chain(outer: AnyArray, origin: int, side: int) -> AnyArray:
    """The convex chain of points ``(origin + k, outer[k])``; ``side`` is 1 for the left chain, -1 for the right one."""
    chain = np.empty((len(outer), 2), np.int64)
    size = 0
    for k in range(len(outer)):
        x = outer[k]
        if x == np.iinfo(np.int64).max or x == np.iinfo(np.int64).min:
            continue  # a row without pixels, between two parts of the mask
        y = np.int64(origin + k)
        while size >= 2:
            (y0, x0), (y1, x1) = chain[size - 2], chain[size - 1]
            if side * ((y1 - y0) * (x - x0) - (x1 - x0) * (y - y0)) > 0:
                break
            size -= 1
        chain[size, 0], chain[size, 1] = y, x
        size += 1
    return chain[:size].copy()


@kernel
def hull_area(hull: tuple[AnyArray, AnyArray], top: int, bottom: int) -> int:
    """Counts the pixels whose centres are in the hull or on its edge, in rows ``top`` to ``bottom - 1``.

    Args:
        hull: left and right chain, ``(K, 2)`` int64 each, as returned by :func:`convex_hull`.
        top, bottom: rows of the mask's box, half open.
    """
    left, right = hull
    total = 0
    a = b = 0
    for row in range(top, bottom):
        y = 2 * row
        while left[a + 1, 0] < y:
            a += 1
        while right[b + 1, 0] < y:
            b += 1
        # a pixel centre is at doubled x = 2 c: smallest c with 2 c >= left edge, largest with 2 c <= right edge
        height = left[a + 1, 0] - left[a, 0]
        edge = left[a, 0 + 1] * height + (left[a + 1, 1] - left[a, 1]) * (y - left[a, 0])
        first = -((-edge) // (2 * height))
        height = right[b + 1, 0] - right[b, 0]
        edge = right[b, 1] * height + (right[b + 1, 1] - right[b, 1]) * (y - right[b, 0])
        total += edge // (2 * height) - first + 1
    return total


@kernel
def hull_diameter(hull: tuple[AnyArray, AnyArray]) -> float:
    """The longest distance between two corners of the hull (``(K, 2)`` int64 chains), in pixels."""
    left, right = hull
    corners = np.concatenate((left, right))
    longest = np.int64(0)
    for i in range(len(corners)):
        for j in range(i):
            y, x = corners[i, 0] - corners[j, 0], corners[i, 1] - corners[j, 1]
            longest = max(longest, y * y + x * x)
    radius: float = np.sqrt(longest) / 2
    return radius
